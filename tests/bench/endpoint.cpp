// The endpoint of the path bench, with as many tunnels as asked for and the data plane that the
// daemon would make. Run by path.py:
//   dstm_bench_endpoint auto|stack|tc|xdp|tun TUNNELS
// says in one line of JSON what was chosen, and works until the end of stdin.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <nlohmann/json.hpp>

#include "common/io/real_clock.hpp"
#include "tep/config.hpp"
#include "tep/data_plane_choice.hpp"
#include "tests/bpf/packets.hpp"

namespace dstm::bench {
namespace {

constexpr std::uint32_t pool_first = 0x0a000010;
const char* const outer_address = "2001:db8:2::1";
// A device each (docs/decisions/kernel-data-plane.md): more of them are another bench.
constexpr std::uint32_t kernel_tunnels_max = 1000;

tep::Config config_for(const std::string& kind) {
    tep::Config config;
    config.device = "dstm0";
    config.outer_ipv6 = test::v6(outer_address);
    config.inner_ipv4 = test::v4("10.0.0.1");
    config.pools = {*Ipv4Prefix::parse("10.0.0.0/12")};
    config.data_plane = kind == "auto" || kind == "tun" ? kind : "bpf";
    const auto shortcut =
        std::ranges::find(tep::shortcut_names, kind == "stack" ? "none" : kind);
    if (shortcut != tep::shortcut_names.end()) {
        config.shortcut = static_cast<std::size_t>(shortcut - tep::shortcut_names.begin());
    }
    return config;
}

Result<void> install(dataplane::DataPlane& plane, std::uint32_t tunnels, const Clock& clock) {
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
        if (const auto added = plane.add(spec); !added) return added;
    }
    return {};
}

void work(const dataplane::DataPlane& plane) {
    while (std::getchar() != EOF) {
    }
    for (const auto& [name, count] : plane.drops()) {
        if (count == 0) continue;
        std::fprintf(stderr, "dropped %s: %llu\n", name.c_str(),
                     static_cast<unsigned long long>(count));
    }
}

Result<void> run(const std::string& kind, std::uint32_t tunnels) {
    const RealClock clock;
    const auto config = config_for(kind);
    auto choice = tep::make_data_plane(config, clock);
    if (!choice) return tl::unexpected(choice.error());
    const std::string name(choice->plane->name());
    if (name == "kernel") tunnels = std::min(tunnels, kernel_tunnels_max);
    if (auto installed = install(*choice->plane, tunnels, clock); !installed) return installed;
    const nlohmann::json chosen{
        {"data_plane", name}, {"why", choice->why}, {"tunnels", tunnels}};
    std::puts(chosen.dump().c_str());
    std::fflush(stdout);
    work(*choice->plane);
    choice->plane.reset();
    const auto detached = tep::detach_data_plane(config);
    return detached ? Result<void>() : tl::unexpected(detached.error());
}

}  // namespace
}  // namespace dstm::bench

int main(int count, char** words) {
    if (count != 3) {
        std::fputs("see the head of endpoint.cpp\n", stderr);
        return 2;
    }
    const auto done = dstm::bench::run(
        words[1], static_cast<std::uint32_t>(std::strtoul(words[2], nullptr, 10)));
    if (done) return 0;
    std::fprintf(stderr, "%s\n", to_string(done.error()).c_str());
    return 1;
}
