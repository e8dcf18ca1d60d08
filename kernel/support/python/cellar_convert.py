"""Converts one notebook and ends: the only program of a container that lives as
long as that takes.

One connection. Request: length u32, JSON. Answer: length u32, JSON, then as many
bytes as its "size" says. Big-endian. What is answered was made from a notebook:
the hub believes none of it.
"""

import io
import json
import os
import socket
import struct
import sys
import zipfile

_HEAD = struct.Struct(">I")


# What a page loads for mathematics and widgets, as nbconvert itself has it. Debian's
# points to files of the machine that converted, where no reader of the page is.
_LIBRARIES = "https://cdnjs.cloudflare.com/ajax/libs/"
_PAGE = {
    "mathjax_url": _LIBRARIES + "mathjax/2.7.7/latest.js?config=TeX-AMS_CHTML-full,Safe",
    "require_js_url": _LIBRARIES + "require.js/2.1.10/require.min.js",
    "jquery_url": _LIBRARIES + "jquery/2.0.3/jquery.min.js",
}


def name_language(metadata):
    """What a notebook that no lab has saved yet lacks, to be made a script of."""
    language = metadata.setdefault("language_info", {})
    language.setdefault("name", metadata.get("kernelspec", {}).get("language", ""))
    if language["name"] == "python":
        language.setdefault("nbconvert_exporter", "python")
        language.setdefault("file_extension", ".py")


def convert(asked):
    """The answer's head, and the result."""
    try:
        import nbformat
        from nbconvert.exporters import ExporterNameError, get_exporter
        from traitlets.config import Config
    except ImportError as e:
        return {"error": "missing", "message": str(e)}, b""
    try:
        exporter = get_exporter(asked["format"])(config=Config({"HTMLExporter": _PAGE}))
    except ExporterNameError:
        return {"error": "unknown"}, b""
    name = asked["name"]
    resources = {"metadata": {"name": name, "path": os.getcwd()}, "output_files_dir": name + "_files"}
    notebook = nbformat.reads(json.dumps(asked["notebook"]), as_version=4)
    name_language(notebook.metadata)
    try:
        output, resources = exporter.from_notebook_node(notebook, resources=resources)
    except Exception as e:
        if type(e).__name__ == "PandocMissing":
            return {"error": "needs", "message": "pandoc"}, b""
        raise
    data = output.encode() if isinstance(output, str) else output
    ending, kind = resources.get("output_extension") or "", exporter.output_mimetype or "text/plain"
    files = resources.get("outputs") or {}
    if files:
        kind, ending, data = "application/zip", ".zip", packed(name + ending, data, files)
    return {"kind": kind, "ending": ending}, data


def packed(name, data, files):
    """A result of several files, as the Python server answers it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
        for other, content in sorted(files.items()):
            archive.writestr(other, content)
    return out.getvalue()


def main():
    try:
        os.chdir(os.environ.get("CELLAR_DIR", "/project"))  # templates may be beside the notebook
    except OSError:
        pass
    with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
        connection, _ = server.accept()
    with connection, connection.makefile("rb") as incoming:
        (size,) = _HEAD.unpack(incoming.read(_HEAD.size))
        try:
            head, data = convert(json.loads(incoming.read(size)))
        except Exception as e:
            head, data = {"error": "failed", "message": f"{type(e).__name__}: {e}"[:2000]}, b""
        head["size"] = len(data)
        head = json.dumps(head).encode()
        connection.sendall(_HEAD.pack(len(head)) + head + data)


if __name__ == "__main__":
    main()
