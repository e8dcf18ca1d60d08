"""Runs a notebook with nbclient and prints its outputs as JSON.

usage: nbclient_run.py NOTEBOOK [GATEWAY_URL TOKEN]

With a gateway the kernel is that of another server, through jupyter_server's own gateway client; without one it
is a kernel of this machine.
"""
import json
import sys

import nbformat
from nbclient import NotebookClient

source, *gateway = sys.argv[1:]
options = {}
if gateway:
    from jupyter_server.gateway.gateway_client import GatewayClient
    from jupyter_server.gateway.managers import GatewayKernelManager

    client = GatewayClient.instance()
    client.url, client.auth_token = gateway
    client.headers = json.dumps({"Authorization": f"token {gateway[1]}"})
    options["kernel_manager_class"] = GatewayKernelManager
    # What these clients lack for each other: a token on the websocket, dates as text, and another name for is_alive.
    import functools

    import websocket
    from jupyter_server.gateway.managers import ChannelQueue

    websocket.create_connection = functools.partial(
        websocket.create_connection, header={"Authorization": f"token {gateway[1]}"}
    )
    GatewayKernelManager._async_is_alive = GatewayKernelManager.is_alive
    ChannelQueue.serialize_datetime = staticmethod(lambda date: date.isoformat())

notebook = nbformat.read(source, as_version=4)
NotebookClient(notebook, kernel_name="python3", allow_errors=True, timeout=60, **options).execute()
outputs = []
for cell in notebook.cells:
    for output in cell.get("outputs", []):
        output.get("metadata", {}).clear()
        if output.output_type == "error":
            output.traceback = len(output.traceback)
    outputs.append({"count": cell.get("execution_count"), "outputs": cell.get("outputs")})
json.dump(outputs, sys.stdout, sort_keys=True)
