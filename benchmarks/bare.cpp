// SPDX-License-Identifier: Apache-2.0
// Drives the Verilated machine without cocotb: sends the words of one file, then those of another,
// and prints how many cycles the second took, how long, and how many words came back.
// Verilator spells a double underscore of Verilog as ___05F.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

static std::vector<uint32_t> read_words(const char* path) {
    std::vector<uint32_t> words;
    FILE* file = std::fopen(path, "rb");
    if (!file) std::exit(2);
    for (uint32_t word; std::fread(&word, 4, 1, file) == 1;) words.push_back(word);
    std::fclose(file);
    return words;
}

static void cycle(Vtop& top) {
    top.clk = 1;
    top.eval();
    top.clk = 0;
    top.eval();
}

static void exchange(Vtop& top, const std::vector<uint32_t>& words, uint64_t& cycles,
                     uint64_t& received) {
    size_t sent = 0;
    int quiet = 0;
    top.o___05Fready = 1;
    while (quiet < 4 && !top.error) {
        top.i___05Fvalid = sent < words.size();
        if (top.i___05Fvalid) top.i___05Fpayload = words[sent];
        top.eval();
        sent += top.i___05Fvalid && top.i___05Fready;
        received += top.o___05Fvalid;
        quiet = sent == words.size() && !top.busy && !top.o___05Fvalid ? quiet + 1 : 0;
        cycle(top);
        ++cycles;
    }
    if (top.error) std::exit(3);
}

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    Vtop top;
    top.rst = 1;
    for (int count = 0; count < 4; ++count) cycle(top);
    top.rst = 0;
    uint64_t cycles = 0, received = 0;
    exchange(top, read_words(argv[1]), cycles, received);
    cycles = received = 0;
    const auto words = read_words(argv[2]);
    const auto start = std::chrono::steady_clock::now();
    exchange(top, words, cycles, received);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    std::printf("%llu %.6f %llu\n", static_cast<unsigned long long>(cycles), seconds.count(),
                static_cast<unsigned long long>(received));
    return 0;
}
