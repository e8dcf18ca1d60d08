#!/bin/bash
# licenses.sh: writes bin/LICENSES.txt, the licences of all that bin/cellar is made of: the Go modules linked into it,
# with the licence files they carry in the module cache, and the JavaScript packages of JupyterLab as its build lists
# them. Needs bin/cellar and web/lab/dist (make build). Fails when a part says nothing of its licence.
set -euo pipefail
cd "$(dirname "$0")/.."

program=bin/cellar
web=web/lab/dist/licenses.json
out=bin/LICENSES.txt
for need in "$program" "$web"; do
	[ -f "$need" ] || { echo "licenses.sh: $need is missing (make build)" >&2; exit 1; }
done

# What it is made of says whether it is to be made again; a second "make run" must not wait for it.
stamp=bin/.licenses
inputs=$(sha256sum go.mod go.sum "$web" scripts/licenses.sh | sha256sum | cut -c1-32)
[ ! -f "$out" ] || [ "$(cat "$stamp" 2>/dev/null)" != "$inputs" ] || exit 0

line() { printf '%s\n' "================================================================================"; }

# modules: "PATH VERSION" of every module in the program; the main module is ours.
modules() {
	go version -m "$program" | awk -F '\t' '$2 == "dep" { print $3, $4 } $2 == "=>" { print "replaced:" $3, $4 }' | LC_ALL=C sort
}

# licence_files DIR: what a module says of its licence, at its top.
licence_files() {
	find "$1" -maxdepth 1 -type f \( -iname 'licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' -o -iname 'unlicense*' \) | LC_ALL=C sort
}

go_part() {
	local path version dir files file
	while read -r path version; do
		dir=$(go list -m -json "$path" | sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p')
		[ -n "$dir" ] && [ -d "$dir" ] || { echo "licenses.sh: $path $version is not in the module cache (go mod download)" >&2; return 1; }
		mapfile -t files < <(licence_files "$dir")
		[ ${#files[@]} -gt 0 ] || { echo "licenses.sh: $path $version carries no licence file" >&2; return 1; }
		line
		printf '%s %s\n' "$path" "$version"
		for file in "${files[@]}"; do
			printf -- '--- %s\n\n' "${file##*/}"
			cat "$file"
			printf '\n'
		done
	done < <(modules)
}

# web_part: a table first, then each text once, with the packages it belongs to.
web_part() {
	node -e '
		const { packages } = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8"));
		const silent = packages.filter(p => !p.licenseId && !p.extractedText).map(p => p.name);
		if (silent.length) { console.error("licenses.sh: no licence: " + silent.join(", ")); process.exit(1); }
		const named = p => `${p.name} ${p.versionInfo}`;
		const sorted = [...packages].sort((a, b) => (named(a) < named(b) ? -1 : 1));
		for (const p of sorted) console.log(`${named(p)}  ${p.licenseId || "see text"}`);
		const texts = new Map();
		for (const p of sorted) {
			const text = (p.extractedText || "").trim();
			if (text) texts.set(text, [...(texts.get(text) || []), named(p)]);
		}
		for (const [text, names] of texts) console.log("\n" + "=".repeat(80) + "\n" + names.join("\n") + "\n\n" + text);
	' "$web"
}

trap 'rm -f "$out.new"' EXIT
{
	echo "Licences of the parts of Cellar. Cellar itself: Apache License 2.0, see LICENSE."
	echo
	echo "Part 1: Go modules in the program"
	echo
	echo "The Go standard library and runtime are under the BSD licence in Go's own LICENSE file:"
	echo
	cat "$(go env GOROOT)/LICENSE"
	echo
	go_part
	line
	echo
	echo "Part 2: JavaScript packages in JupyterLab as it is built in"
	echo
	web_part
} >"$out.new"
mv "$out.new" "$out"
echo "licenses.sh: $(modules | wc -l) modules and $(node -p 'JSON.parse(require("fs").readFileSync(process.argv[1])).packages.length' "$web") packages in $out"
printf '%s\n' "$inputs" >"$stamp"
