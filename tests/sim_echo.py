"""A stand-in for the machine with the same ports, small enough to build in seconds."""

import textwrap

ECHO = textwrap.dedent("""\
    module top(
        input clk, input rst,
        input [31:0] i__payload, input i__valid, output i__ready,
        output reg [31:0] o__payload, output reg o__valid, input o__ready,
        input [3:0] registers__address, input registers__write,
        input [31:0] registers__write_data, output [31:0] registers__read_data,
        output busy, output reg error);
        // Words come back plus one; 0x0b00nnnn is busy for n cycles, 0xdeadnnnn is an error.
        reg [31:0] scratch;
        reg [15:0] wait_cycles;
        reg hung;
        wire take = i__valid & i__ready;
        assign i__ready = error | ((~o__valid | o__ready) & wait_cycles == 0 & ~hung);
        assign busy = o__valid | wait_cycles != 0 | hung;
        assign registers__read_data = registers__address == 7 ? scratch
            : {28'h4c4f4f4, registers__address};
        always @(posedge clk) begin
            if (o__ready) o__valid <= 0;
            if (wait_cycles != 0) wait_cycles <= wait_cycles - 1;
            if (take & ~error) case (i__payload[31:16])
                16'hdead: error <= 1;
                16'h0b00: wait_cycles <= i__payload[15:0];
                16'hffff: hung <= 1;
                default: begin
                    o__valid <= 1;
                    o__payload <= i__payload + OFFSET;
                end
            endcase
            if (registers__write && registers__address == 7) scratch <= registers__write_data;
            if (rst || (registers__write && registers__address == 6)) begin
                o__valid <= 0;
                wait_cycles <= 0;
                error <= 0;
                hung <= 0;
            end
        end
    endmodule
    """)


def echo(offset=1):
    """Verilog of a machine that sends every word back, plus ``offset``."""
    return ECHO.replace("OFFSET", f"32'd{offset}")


HANG = 0xFFFF0000
"""Word after which the machine is busy for ever."""

FAULT = 0xDEAD0000
"""Word that puts the machine in error."""


def pause(cycles):
    """Word that keeps the machine busy for so many cycles."""
    return 0x0B000000 | cycles
