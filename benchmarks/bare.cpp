// SPDX-License-Identifier: Apache-2.0
// Drives the Verilated bench without cocotb, VPI and Python: lets it exchange the words of the files
// named, one after the other, and prints for each: cycles, seconds, words received.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "Vtop.h"
#include "Vtop___024root.h"
#include "verilated.h"

static void run(VerilatedContext& context, Vtop& top) {
    auto& bench = *top.rootp;
    bench.bench__DOT__go = !bench.bench__DOT__go;
    do {
        top.eval();
        if (top.eventsPending()) context.time(top.nextTimeSlot());
    } while (bench.bench__DOT__done != bench.bench__DOT__go);
}

int main(int argc, char** argv) {
    VerilatedContext context;
    Vtop top{&context};
    auto& bench = *top.rootp;
    top.eval();
    bench.bench__DOT__ask_limit = 4;
    run(context, top);
    bench.bench__DOT__ask_rst = 0;
    bench.bench__DOT__ask_stream = 1;
    bench.bench__DOT__ask_limit = 0xffffffff;
    for (int index = 1; index < argc; ++index) {
        const std::string link = std::string("ln -sf ") + argv[index] + " input.bin";
        FILE* file = std::fopen(argv[index], "rb");
        if (!file || std::system(link.c_str())) return 2;
        std::fseek(file, 0, SEEK_END);
        bench.bench__DOT__ask_words = std::ftell(file) / 4;
        std::fclose(file);
        bench.bench__DOT__ask_exchange = index;
        const auto before = bench.bench__DOT__cycles;
        const auto start = std::chrono::steady_clock::now();
        run(context, top);
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
        if (bench.bench__DOT__error || !bench.bench__DOT__finished) return 3;
        std::printf("%llu %.6f %u\n",
                    static_cast<unsigned long long>(bench.bench__DOT__cycles - before),
                    seconds.count(), bench.bench__DOT__received);
    }
    return 0;
}
