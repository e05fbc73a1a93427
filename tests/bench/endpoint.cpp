// The endpoint of the path bench, with as many tunnels as asked for. Run by path.py:
//   dstm_bench_endpoint auto|stack|tc|xdp|tun TUNNELS      says "ready", works until the end of
//   stdin
#include <cstdio>
#include <cstdlib>
#include <string>

#include "common/dataplane/tun_plane.hpp"
#include "common/io/real_clock.hpp"
#include "tep/bpf/bpf_plane.hpp"
#include "tests/bpf/packets.hpp"

namespace dstm::bench {
namespace {

constexpr std::uint32_t pool_first = 0x0a000010;
const char* const outer_address = "2001:db8:2::1";
const char* const inner_address = "10.0.0.1";
const char* const pool = "10.0.0.0/12";

Result<std::unique_ptr<dataplane::DataPlane>> make_plane(const std::string& kind,
                                                         const Clock& clock) {
    if (kind == "tun") {
        dataplane::TunPlaneConfig config;
        config.outer = test::v6(outer_address);
        config.inner = test::v4(inner_address);
        config.pools = {*Ipv4Prefix::parse(pool)};
        return dataplane::make_tun_plane(config, clock);
    }
    tep::bpf::BpfPlaneConfig config;
    config.outer = test::v6(outer_address);
    config.inner = test::v4(inner_address);
    config.pools = {*Ipv4Prefix::parse(pool)};
    if (kind == "stack") config.shortcut = tep::bpf::Shortcut::none;
    if (kind == "tc") config.shortcut = tep::bpf::Shortcut::tc;
    if (kind == "xdp") config.shortcut = tep::bpf::Shortcut::xdp;
    return tep::bpf::make_bpf_plane(config, clock);
}

int run(const std::string& kind, std::uint32_t tunnels) {
    const RealClock clock;
    auto plane = make_plane(kind, clock);
    if (!plane) {
        std::fprintf(stderr, "%s\n", to_string(plane.error()).c_str());
        return 1;
    }
    TunnelSpec spec;
    spec.outer_server = test::v6(outer_address);
    spec.generation = 1;
    spec.expires_at = clock.wall() + std::chrono::hours(1);
    auto client = test::v6("2001:db8:1::").bytes();
    for (std::uint32_t i = 0; i < tunnels; ++i) {
        for (std::size_t k = 0; k < 4; ++k) {
            client[15 - k] = static_cast<std::uint8_t>((i + 1) >> (8 * k));
        }
        spec.inner = Ipv4Address(pool_first + i);
        spec.outer_client = {Ipv6Address(client), 0};
        if (const auto added = (*plane)->add(spec); !added) {
            std::fprintf(stderr, "%s\n", to_string(added.error()).c_str());
            return 1;
        }
    }
    std::puts("ready");
    std::fflush(stdout);
    while (std::getchar() != EOF) {
    }
    for (const auto& [name, count] : (*plane)->drops()) {
        if (count != 0)
            std::fprintf(stderr, "  dropped %s: %llu\n", name.c_str(),
                         static_cast<unsigned long long>(count));
    }
    return 0;
}

}  // namespace
}  // namespace dstm::bench

int main(int count, char** words) {
    if (count != 3) {
        std::fputs("see the head of endpoint.cpp\n", stderr);
        return 2;
    }
    return dstm::bench::run(words[1],
                            static_cast<std::uint32_t>(std::strtoul(words[2], nullptr, 10)));
}
