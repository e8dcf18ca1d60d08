#!/bin/bash
# customize.sh ROOT: tells Jupyter of the R kernel; Debian's package leaves that to the user.
set -euo pipefail
spec=$1/usr/share/jupyter/kernels/ir
[ ! -e "$spec/kernel.json" ] || exit 0
install -d "$spec"
cat >"$spec/kernel.json" <<'JSON'
{
 "argv": ["/usr/bin/R", "--slave", "-e", "IRkernel::main()", "--args", "{connection_file}"],
 "display_name": "R",
 "language": "R"
}
JSON
