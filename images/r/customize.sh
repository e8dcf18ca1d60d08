#!/bin/bash
# customize.sh ROOT: tells Jupyter of the R kernel, which Debian's package leaves to the user, and R of the
# person's own library.
set -euo pipefail
spec=$1/usr/share/jupyter/kernels/ir
if [ ! -e "$spec/kernel.json" ]; then
	install -d "$spec"
	cat >"$spec/kernel.json" <<'JSON'
{
 "argv": ["/usr/bin/R", "--slave", "-e", "IRkernel::main()", "--args", "{connection_file}"],
 "display_name": "R",
 "language": "R"
}
JSON
fi

# R takes the library in the home only if it is there at the start, and a kernel cannot be asked whether to make
# it: install.packages would try the image's own, which is read-only.
cat >>"$1/etc/R/Rprofile.site" <<'R'
local({
    own <- Sys.getenv("R_LIBS_USER")
    if (nzchar(own) && (dir.exists(own) || dir.create(own, recursive = TRUE, showWarnings = FALSE)))
        .libPaths(c(own, .libPaths()))
})
R
