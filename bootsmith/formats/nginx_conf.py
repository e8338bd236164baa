"""`nginx.conf`: the site of a head node, to be included where nginx's http block includes sites.

Only what machines load is served: `http/` and `tftp/` of netboot trees, and what is armed.
Generations never change, so whatever names one may be kept for ever. `current` and `armed` may
lead elsewhere the next second, to a file of equal size and age: what is named through them is
never kept and never compared by its age.

Source of the facts: nginx.org's documentation of ngx_http_core_module, _headers and _fastcgi;
fcgiwrap(8) for the parameters.
"""

from __future__ import annotations

from bootsmith.formats.arming import (
    HOOK_LOCATION,
    HOOK_PROGRAM,
    HOOK_ROOT_VARIABLE,
    HOOK_SOCKET,
)
from bootsmith.formats.conf_values import check_network_values
from bootsmith.formats.inventory import Inventory
from bootsmith.formats.netboot_network import ARMED, Network

CONF_NAME = "nginx.conf"
# What fcgiwrap needs to start a program, and what the hook reads.
_HOOK_PARAMETERS = {
    "SCRIPT_FILENAME": HOOK_PROGRAM,
    HOOK_ROOT_VARIABLE: "$document_root",
    "REQUEST_METHOD": "$request_method",
    "REQUEST_URI": "$request_uri",
    "QUERY_STRING": "$query_string",
    "REMOTE_ADDR": "$remote_addr",
    "SERVER_PROTOCOL": "$server_protocol",
}


def write_nginx_conf(network: Network, inventory: Inventory) -> str:
    """The site; RecipeError for values that it could not hold."""
    check_network_values(network)
    parameters = "".join(
        [f"        fastcgi_param {name} {value};\n" for name, value in _HOOK_PARAMETERS.items()]
    )
    return f"""\
# {network.root} for machines of {network.subnet}.
server {{
    listen {network.server}:{network.http_port};
    server_name _;
    root {network.root};

    sendfile on;
    tcp_nopush on;
    # Machines take the bytes as they are.
    gzip off;
    default_type application/octet-stream;
    types {{
        application/efi efi;
        application/gzip gz;
        text/plain cfg ipxe txt;
    }}

    location / {{
        return 404;
    }}

    location ~ ^/generations/[^/]+/netboot/(?:http|tftp)/ {{
        add_header Cache-Control "public, max-age=31536000, immutable";
    }}

    location ~ ^/current/netboot/(?:http|tftp)/ {{
        add_header Cache-Control no-store;
        etag off;
        if_modified_since off;
    }}

    location /{ARMED}/ {{
        add_header Cache-Control no-store;
        etag off;
        if_modified_since off;
    }}

    # A machine that has installed itself asks for this, and is disarmed.
    location = {HOOK_LOCATION} {{
        client_max_body_size 1k;
        fastcgi_pass_request_body off;
        fastcgi_pass unix:{HOOK_SOCKET};
{parameters}    }}
}}
"""
