// ./dev bench bpf: time per packet of the XDP programs, by BPF_PROG_TEST_RUN, with random tunnels.
//
// Runs in a network namespace that bench.py prepares: a default IPv4 route, whose neighbour is
// known, and forwarding. Each figure is of many short rounds in which the programs and the empty
// loops around them (bench.bpf.c) take turns; short, so that other work on the machine spoils some
// of them and not all. The value is the lower quartile; the detail has the median and the least.
#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include <arpa/inet.h>
#include <endian.h>
#include <linux/ip.h>
#include <net/if.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "tep/bpf/layout.h"
#include "tep/bpf/mapped_array.hpp"
#include "tests/bench/batch.h"
#include "tests/bench/report.hpp"
#include "tests/bpf/packets.hpp"

#include "bench.skel.h"

namespace dstm::bench {
namespace {

constexpr std::size_t rounds = 101;
constexpr __u32 packets_a_round = 100'000;
constexpr __u32 way_in = 1;   // of the test run: the loopback interface
constexpr __u32 way_out = 2;  // not the interface of the test run, so that packets are redirected
constexpr std::uint64_t peer_network = 0x20010db800010000;
const char* const outer_address = "2001:db8:2::1";

struct Owner {
    explicit Owner(bench_programs* opened) : programs(opened) {}
    Owner(const Owner&) = delete;
    Owner& operator=(const Owner&) = delete;
    ~Owner() { bench_programs__destroy(programs); }
    bench_programs* programs;
};

bool fill(bench_programs& programs, std::uint32_t tunnels) {
    auto entries =
        tep::bpf::MappedArray<dstm_entry>::map(bpf_map__fd(programs.maps.pool_0), tunnels);
    auto hops = tep::bpf::MappedArray<dstm_next_hop>::map(bpf_map__fd(programs.maps.data_next_hops),
                                                          DSTM_NEXT_HOPS_MAX);
    if (!entries || !hops) return false;
    for (std::uint32_t i = 0; i < tunnels; ++i) {
        auto& entry = entries->elements()[i];
        entry.peer[0] = htobe64(peer_network);
        entry.peer[1] = htobe64(i);
        entry.expires = 0xffffffff;
        entry.next_hop = 1;
        entry.state = DSTM_ENTRY_CARRIED;
    }
    auto& hop = hops->elements()[1];
    hop.interface = way_out;
    hop.mtu = 1500;
    hop.has_link_addresses = 1;
    hop.takes_frames = 1;
    for (const auto interface : {way_in, if_nametoindex("eth0")}) {
        programs.bss->ports[interface % DSTM_PORTS_MAX] = {interface, 1, {}};
    }
    return true;
}

// Of the packet of key 0, as renew() in bench.bpf.c makes it: its identification is 0xffff.
std::uint32_t checksum_of(std::span<const std::uint8_t> header) {
    std::uint32_t sum = 0xffff;
    for (std::size_t i = 0; i < sizeof(iphdr); i += 2) {
        const bool is_left_out = i == offsetof(iphdr, id) || i == offsetof(iphdr, check);
        if (!is_left_out) sum += static_cast<std::uint32_t>(header[i] << 8 | header[i + 1]);
    }
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return htonl(~sum & 0xffff);
}

// Nanoseconds a packet.
double run(int program, std::vector<std::uint8_t> frame) {
    LIBBPF_OPTS(bpf_test_run_opts, options);
    options.data_in = frame.data();
    options.data_size_in = static_cast<__u32>(frame.size());
    options.repeat = packets_a_round / DSTM_BENCH_BATCH;
    if (bpf_prog_test_run_opts(program, &options) != 0) {
        progress("BPF_PROG_TEST_RUN: %s", std::strerror(errno));
        std::exit(1);
    }
    return static_cast<double>(options.duration) / DSTM_BENCH_BATCH;
}

// A program and the loop around it without it, on the same frame.
struct Measured {
    const bpf_program* program;
    const bpf_program* loop;
    std::vector<std::uint8_t> frame;
    std::vector<double> with;  // nanoseconds a packet
    std::vector<double> without;
};

// What else the machine does only ever adds time: of each the quarter of the rounds that was
// disturbed least, and then the difference.
double quartile(std::vector<double> values, std::size_t which) {
    std::ranges::sort(values);
    return values[values.size() * which / 4];
}

double difference(const Measured& measured, std::size_t which) {
    return quartile(measured.with, which) - quartile(measured.without, which);
}

// All in turns, so that the same noise meets them all.
void measure(const std::vector<Measured*>& all) {
    for (std::size_t i = 0; i < rounds; ++i) {
        for (auto* one : all) {
            one->without.push_back(run(bpf_program__fd(one->loop), one->frame));
            one->with.push_back(run(bpf_program__fd(one->program), one->frame));
        }
    }
}

bool measure_at(std::uint32_t tunnels, const std::string& suffix) {
    const Owner owner(bench_programs__open());
    if (owner.programs == nullptr) return false;
    auto& programs = *owner.programs;
    auto& settings = programs.rodata->settings;
    const auto outer = test::v6(outer_address);
    std::memcpy(settings.outer, outer.bytes().data(), sizeof settings.outer);
    settings.pools[0] = {DSTM_BENCH_CLIENT, tunnels};
    settings.hairpin = 1;
    settings.mss_clamp = 1;
    programs.rodata->tunnels = tunnels;
    bpf_map__set_max_entries(programs.maps.pool_0, tunnels);
    for (bpf_map* unused :
         {programs.maps.pool_1, programs.maps.pool_2, programs.maps.pool_3, programs.maps.pool_4,
          programs.maps.pool_5, programs.maps.pool_6, programs.maps.pool_7}) {
        bpf_map__set_autocreate(unused, false);
    }
    const auto inner = test::make(test::Inner{test::v4("10.0.0.0"), test::v4("198.51.100.80")});
    programs.rodata->checksum = checksum_of(inner);
    if (bench_programs__load(&programs) != 0 || !fill(programs, tunnels)) return false;

    const auto wrapped =
        test::frame(0x86dd, test::make(test::Outer{test::v6("2001:db8:1::"), outer}, inner));
    const auto& programs_of = programs.progs;
    Measured down{programs_of.bench_down, programs_of.bench_down_frame, test::frame(0x0800, inner),
                  {},
                  {}};
    Measured lookup{programs_of.bench_lookup, programs_of.bench_down_frame,
                    test::frame(0x0800, inner), {}, {}};
    Measured up{programs_of.bench_up, programs_of.bench_up_frame, wrapped, {}, {}};
    measure({&down, &lookup, &up});
    if (programs.bss->failures > rounds * packets_a_round / 1000) {
        progress("%llu packets were not carried",
                 static_cast<unsigned long long>(programs.bss->failures));
        return false;
    }
    const auto tell = [&](const char* name, const Measured& measured) {
        report("bpf", name + suffix, difference(measured, 1), "ns", tunnels,
               {{"program", "xdp"},
                {"batch", DSTM_BENCH_BATCH},
                {"rounds", rounds},
                {"packets", packets_a_round},
                {"statistic", "lower quartile"},
                {"median", difference(measured, 2)},
                {"least", difference(measured, 0)},
                {"loop_ns_subtracted", quartile(measured.without, 1)}});
    };
    tell("encap_ns_", down);
    tell("lookup_ns_", lookup);
    tell("decap_ns_", up);
    return true;
}

}  // namespace
}  // namespace dstm::bench

int main() {
    using dstm::bench::measure_at;
    using dstm::bench::progress;
    struct Size {
        std::uint32_t tunnels;
        const char* suffix;
    };
    for (const auto& size :
         {Size{1, "1"}, Size{1000, "1k"}, Size{100'000, "100k"}, Size{1'000'000, "1m"}}) {
        progress("bpf: %u tunnels", size.tunnels);
        if (!measure_at(size.tunnels, size.suffix)) {
            progress("bpf: could not be measured: %s", std::strerror(errno));
            return 1;
        }
    }
    return 0;
}
