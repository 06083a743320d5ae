"""`wireshark`: a dissector that shows MIKEY messages in Wireshark and tshark."""

from __future__ import annotations

import click

from mikeytool.cli.command_groups import Command
from mikeytool.cli.message_io import write_output
from mikeytool.cli.options.outputs import OUTPUT, output_force_option
from mikeytool.wire.lua_dissector import dissector


@click.command(cls=Command)
@click.option("-o", "--output", type=OUTPUT, metavar="FILE", help="Write to FILE.")
@output_force_option
def wireshark(output: str | None) -> None:
    """Write a Wireshark dissector for MIKEY, in Lua.

    Put the file in the folder of personal Lua plugins, which Wireshark names under Help, About,
    Folders, or give it to tshark:

    \b
      mikeytool wireshark -o mikeytool.lua
      tshark -X lua_script:mikeytool.lua -r call.pcap -O mikeytool

    It shows every payload and field that decode shows, those inside tickets too: in SIP and RTSP,
    in HTTP as application/mikey, and on port 2269 of UDP and TCP. Filters begin with mikeytool,
    such as mikeytool.hdr.csb_id or mikeytool.idr.id_data.
    """
    write_output(dissector().encode(), output)
