// Traffic of the path bench. Run by path.py in the namespaces at both ends:
//   dstm_bench_generate up|down|plain-up|plain-down DEVICE LINK-ADDRESS TUNNELS SECONDS
//   dstm_bench_generate discard DEVICE       until the end of stdin; for each line there it says
//                                            how many frames have arrived, and the nanosecond
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sched.h>
#include <unistd.h>

#include "common/base/bytes.hpp"
#include "tests/bench/generate.h"
#include "tests/bench/report.hpp"
#include "tests/bpf/packets.hpp"

#include "generate.skel.h"

namespace dstm::bench {
namespace {

constexpr int generator_cpu = 0;
constexpr __u32 burst = 1 << 18;
constexpr std::uint32_t pool_first = 0x0a000010;   // 10.0.0.16
constexpr std::uint32_t plain_first = 0xc6120010;  // 198.18.0.16, RFC 2544

[[noreturn]] void give_up(const char* doing) {
    std::perror(doing);
    std::exit(1);
}

// 64 bytes on the wire, without what carries the tunnel.
test::Packet inner_packet(const std::string& kind) {
    test::Inner inner{Ipv4Address(0), Ipv4Address(0)};
    inner.payload = test::Packet(26);
    store16(inner.payload, 0, 9);
    store16(inner.payload, 2, 9);
    store16(inner.payload, 4, 26);
    if (kind == "up") inner.destination = test::v4("203.0.113.80");
    if (kind == "down") inner.source = test::v4("203.0.113.80");
    if (kind == "plain-up") inner.source = test::v4("192.0.2.2");
    if (kind == "plain-down") inner.source = test::v4("198.51.100.80");
    return test::make(inner);
}

int generate(const std::string& kind, const char* device, const char* address, const char* tunnels,
             const char* seconds) {
    const unsigned interface = if_nametoindex(device);
    if (interface == 0) give_up(device);
    std::array<unsigned, 6> to{};
    if (std::sscanf(address, "%x:%x:%x:%x:%x:%x", &to[0], &to[1], &to[2], &to[3], &to[4], &to[5]) !=
        6) {
        give_up("link address");
    }
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(generator_cpu, &cpus);
    sched_setaffinity(0, sizeof cpus, &cpus);

    const auto inner = inner_packet(kind);
    auto* programs = generate_programs__open();
    if (programs == nullptr) give_up("generator");
    auto& settings = programs->rodata->settings;
    settings.interface = interface;
    settings.tunnels = static_cast<__u32>(std::strtoul(tunnels, nullptr, 10));
    settings.first = kind == "up" || kind == "down" ? pool_first : plain_first;
    std::memcpy(&settings.checksum, inner.data() + 10, sizeof settings.checksum);
    settings.wrapped = kind == "up";
    auto frame = kind == "up"
                     ? test::frame(0x86dd, test::make(test::Outer{test::v6("2001:db8:1::"),
                                                                  test::v6("2001:db8:2::1")},
                                                      inner))
                     : test::frame(0x0800, inner);
    for (std::size_t i = 0; i < to.size(); ++i) frame[i] = static_cast<std::uint8_t>(to[i]);
    DSTM_ASSERT(frame.size() <= sizeof settings.frame);
    std::memcpy(settings.frame, frame.data(), frame.size());
    frame.insert(frame.begin(), GENERATE_ROOM, 0);
    if (generate_programs__load(programs) != 0) give_up("generator");
    LIBBPF_OPTS(bpf_test_run_opts, options);
    options.data_in = frame.data();
    options.data_size_in = static_cast<__u32>(frame.size());
    options.repeat = burst;
    options.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
    options.batch_size = 64;
    const auto end = std::chrono::steady_clock::now() +
                     std::chrono::milliseconds(static_cast<long>(1000 * std::atof(seconds)));
    while (std::chrono::steady_clock::now() < end) {
        if (bpf_prog_test_run_opts(bpf_program__fd(programs->progs.generate), &options) != 0) {
            give_up("BPF_PROG_TEST_RUN with live frames");
        }
    }
    generate_programs__destroy(programs);
    return 0;
}

void say_arrived(const std::string& device) {
    unsigned long long count = 0;
    std::ifstream("/sys/class/net/" + device + "/statistics/rx_packets") >> count;
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    std::printf("%llu %lld\n", count,
                static_cast<long long>(std::chrono::nanoseconds(now).count()));
    std::fflush(stdout);
}

int discard(const char* device) {
    auto* programs = generate_programs__open_and_load();
    if (programs == nullptr) give_up("discard");
    const int interface = static_cast<int>(if_nametoindex(device));
    if (bpf_xdp_attach(interface, bpf_program__fd(programs->progs.discard), XDP_FLAGS_DRV_MODE,
                       nullptr) != 0) {
        give_up("discard");
    }
    say_arrived(device);
    for (int character = 0; (character = std::getchar()) != EOF;) {
        if (character == '\n') say_arrived(device);
    }
    bpf_xdp_detach(interface, XDP_FLAGS_DRV_MODE, nullptr);
    generate_programs__destroy(programs);
    return 0;
}

}  // namespace
}  // namespace dstm::bench

int main(int count, char** words) {
    const std::vector<std::string> arguments(words + 1, words + count);
    if (arguments.size() == 2 && arguments[0] == "discard") return dstm::bench::discard(words[2]);
    if (arguments.size() == 5) {
        return dstm::bench::generate(arguments[0], words[2], words[3], words[4], words[5]);
    }
    std::fputs("see the head of generate.cpp\n", stderr);
    return 2;
}
