// SPDX-License-Identifier: Apache-2.0
// Wrapper around the machine: clock, feeder, collector, register access. Runs on Verilator and Icarus.
//
// The server (sim/cocotb_server.py) sets the request registers, changes `go` and sleeps until `done`
// changes. In between the clock runs; outside it stands still. A request is either one slice of an
// exchange (`stream` = 1) or a bare run of `limit` cycles (reset, register writes).

`timescale 1ns/1ps

module bench;
    // Requests, written by the server while the clock stands still. They are copied when `go` changes,
    // for Verilator evaluates all logic behind a signal that is open to writes at every step.
    reg         go = 0;             // a change starts the clock
    reg         ask_stream = 0;     // 1: feed and collect, stop when the machine is finished
    reg  [31:0] ask_limit = 0;      // most cycles of this slice
    reg  [31:0] ask_exchange = 0;   // number of the exchange: a new one opens new files
    reg  [31:0] ask_words = 0;      // words in input.bin
    reg  [31:0] ask_stall_i = 0;    // gaps in the words sent, in 256ths
    reg  [31:0] ask_stall_o = 0;    // gaps in taking words, in 256ths
    reg  [31:0] ask_seed = 1;       // of both, not 0
    reg         ask_record = 1;     // whether waves are recorded
    reg  [31:0] ask_reset_at = 0;   // cycle of the exchange in which a soft reset is written; 0: never
    reg  [31:0] ask_resume = 0;     // word with which sending goes on after it, and stops before it
    reg         ask_rst = 1;
    reg  [31:0] ask_address = 0;
    reg         ask_write = 0;
    reg  [31:0] ask_write_data = 0;

    // Answers, read by the server after `done` changed.
    reg         done = 0;           // takes the value of `go` when the clock stops
    reg         finished = 0;       // the exchange is over: idle or in error
    reg  [63:0] cycles = 0;
    reg  [31:0] sent = 0;
    reg  [31:0] received = 0;
    reg  [31:0] dropped = 0;        // words that came up to the soft reset
    reg  [31:0] read_data = 0;
    reg         busy = 0;
    reg         error = 0;
    reg         unknown = 0;        // a handshake was X, which ends an exchange too

    reg         stream = 0;
    reg  [31:0] limit = 0;
    reg  [31:0] exchange = 0;
    reg  [31:0] words = 0;
    reg  [31:0] stall_i = 0;
    reg  [31:0] stall_o = 0;
    reg  [31:0] seed = 1;
    reg  [31:0] reset_at = 0;
    reg  [31:0] resume = 0;
    reg         rst = 1;
    reg  [31:0] address = 0;
    reg         write = 0;
    reg  [31:0] write_data = 0;

    reg         clk = 0;
    reg  [31:0] i_payload = 0;
    reg         i_valid = 0;
    wire        i_ready;
    wire [31:0] o_payload;
    wire        o_valid;
    reg         o_open = 0;
    reg  [31:0] current = 0;
    // Shut in the first cycle of an exchange, which clears what an unfinished one left.
    wire        active = stream & (current == exchange);
    wire [31:0] dut_read_data;
    wire        dut_busy, dut_error;

    // A soft reset in the middle of an exchange: what is on the link then is left lying.
    reg  [31:0] elapsed = 0;
    reg         reset_done = 0;
    wire        reset_due = reset_at != 0 & ~reset_done;
    wire        reset_now = active & reset_due & (elapsed == reset_at);
    wire [31:0] words_due = reset_due ? resume : words;

    top dut (
        .clk(clk), .rst(rst),
        .s_axis_tdata(i_payload), .s_axis_tvalid(i_valid & active), .s_axis_tready(i_ready),
        .m_axis_tdata(o_payload), .m_axis_tvalid(o_valid), .m_axis_tready(o_open & active),
        .m_axis_tlast(),
        .csr_address(reset_now ? 4'd6 : address[3:0]), .csr_write(write | reset_now),
        .csr_write_data(reset_now ? 32'd1 : write_data), .csr_read_data(dut_read_data),
        .busy(dut_busy), .error(dut_error), .irq());

    integer     file_i = 0, file_o = 0;
    reg  [31:0] opened = 0;
    reg  [31:0] slice;
    reg         halted = 0;
    reg         stopped = 0;
    wire        lost;

    // Apart from the clock: Verilator evaluates at every step what a process with delays may write.
    always @(go) begin
        stream = ask_stream;
        limit = ask_limit;
        exchange = ask_exchange;
        words = ask_words;
        stall_i = ask_stall_i;
        stall_o = ask_stall_o;
        seed = ask_seed;
        reset_at = ask_reset_at;
        resume = ask_resume;
        rst = ask_rst;
        address = ask_address;
        write = ask_write;
        write_data = ask_write_data;
        if (opened != exchange) begin
            if (opened != 0) begin
                $fclose(file_i);
                $fclose(file_o);
            end
            file_i = $fopen("input.bin", "rb");
            file_o = $fopen("output.bin", "wb");
            opened = exchange;
        end
    end

    always @(go) begin
        slice = 0;
        #5;
        // The first cycle of an exchange runs even when the last one ended halted.
        while (slice != limit && (slice == 0 || !halted)) begin
            clk = 1;
            #5 clk = 0;
            #5;
            slice = slice + 1;
        end
        stopped = go;
    end

    // Apart from the clock too, which therefore depends on registers of the bench alone: what drives
    // a clock cannot be evaluated together with what it drives.
    always @(stopped) begin
        if (opened != 0) $fflush(file_o);
        finished = halted;
        read_data = dut_read_data;
        busy = dut_busy;
        error = dut_error;
        unknown = lost;
        done = stopped;
    end

    // For Icarus; under Verilator, which ignores these, the main program looks at the signal itself.
    always @(ask_record) if (ask_record) $dumpon; else $dumpoff;

    reg  [31:0] noise = 1;
    reg  [31:0] word;
    integer     got;
    reg  [2:0]  quiet = 0;
    reg  [4:0]  fault = 0;
    wire        refill = ~i_valid | i_ready;

    // `busy` may follow a word by a cycle or two, so the end is believed after four quiet cycles. In
    // error the machine swallows what is left, of which sixteen cycles are enough to see.
    assign lost = active & (^{dut_busy, dut_error, i_ready, o_valid} === 1'bx);

    always @(posedge clk) begin
        cycles <= cycles + 1;
        current <= exchange;
        halted <= active & (lost | quiet[2] | fault[4]);
        if (current != exchange) begin
            sent <= 0;
            received <= 0;
            i_valid <= 0;
            quiet <= 0;
            fault <= 0;
            noise <= seed;
            o_open <= 0;
            elapsed <= 0;
            reset_done <= 0;
            dropped <= 0;
        end else if (stream) begin
            noise <= {noise[30:0], 1'b0} ^ (noise[31] ? 32'h04c11db7 : 32'h0);
            // Gaps of 256 in 256 last until the soft reset.
            o_open <= {24'd0, noise[7:0]} >= stall_o || (stall_o == 256 && !reset_due);
            if (refill) begin
                i_valid <= 0;
                if (sent != words_due && {24'd0, noise[20:13]} >= stall_i) begin
                    got = $fread(word, file_i);
                    i_payload <= {word[7:0], word[15:8], word[23:16], word[31:24]};
                    i_valid <= 1;
                    sent <= sent + 1;
                end
            end
            if (o_valid & o_open) begin
                $fwrite(file_o, "%u", o_payload);
                received <= received + 1;
            end
            if (reset_now) begin
                // The next word is offered in the very next cycle.
                reset_done <= 1;
                dropped <= received + (o_valid & o_open);
                got = $fseek(file_i, resume * 4, 0);
                i_valid <= 0;
                sent <= resume;
                if (resume != words) begin
                    got = $fread(word, file_i);
                    i_payload <= {word[7:0], word[15:8], word[23:16], word[31:24]};
                    i_valid <= 1;
                    sent <= resume + 1;
                end
            end
            elapsed <= elapsed + 1;
            if (sent == words && !reset_due && refill && !dut_busy && !o_valid)
                quiet <= quiet + {2'd0, ~quiet[2]};
            else
                quiet <= 0;
            if (dut_error && !reset_due)
                fault <= fault + {4'd0, ~fault[4]};
            else
                fault <= 0;
        end
    end
endmodule
