"""A stand-in for the machine with the same ports, small enough to build in seconds."""

import textwrap

ECHO = textwrap.dedent("""\
    module top(
        input clk, input rst,
        input [31:0] s_axis_tdata, input s_axis_tvalid, output s_axis_tready,
        output reg [31:0] m_axis_tdata, output reg m_axis_tvalid, input m_axis_tready,
        input [3:0] csr_address, input csr_write,
        input [31:0] csr_write_data, output [31:0] csr_read_data,
        output m_axis_tlast, output busy, output reg error, output irq);
        // Words come back plus one; 0x0b00nnnn is busy for n cycles, 0xdeadnnnn is an error.
        reg [31:0] scratch;
        reg [15:0] wait_cycles;
        reg hung;
        assign m_axis_tlast = 1;
        assign irq = 0;
        wire take = s_axis_tvalid & s_axis_tready;
        assign s_axis_tready =
            error | ((~m_axis_tvalid | m_axis_tready) & wait_cycles == 0 & ~hung);
        assign busy = m_axis_tvalid | wait_cycles != 0 | hung;
        assign csr_read_data = csr_address == 7 ? scratch
            : {28'h4c4f4f4, csr_address};
        always @(posedge clk) begin
            if (m_axis_tready) m_axis_tvalid <= 0;
            if (wait_cycles != 0) wait_cycles <= wait_cycles - 1;
            if (take & ~error) case (s_axis_tdata[31:16])
                16'hdead: error <= 1;
                16'h0b00: wait_cycles <= s_axis_tdata[15:0];
                16'hffff: hung <= 1;
                default: begin
                    m_axis_tvalid <= 1;
                    m_axis_tdata <= s_axis_tdata + OFFSET;
                end
            endcase
            if (csr_write && csr_address == 7) scratch <= csr_write_data;
            if (rst || (csr_write && csr_address == 6)) begin
                m_axis_tvalid <= 0;
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
