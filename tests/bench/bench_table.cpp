// ./dev bench table: installing, resynchronising and reading a million tunnels.
//
// Runs in a network namespace that bench.py prepares: the outer address and a default IPv6 route.
#include <chrono>
#include <cstdlib>
#include <vector>

#include "common/io/real_clock.hpp"
#include "common/log/log.hpp"
#include "tep/bpf/bpf_plane.hpp"
#include "tep/bpf/entry_table.hpp"
#include "tests/bench/report.hpp"
#include "tests/bpf/packets.hpp"

namespace dstm::bench {
namespace {

constexpr std::uint32_t tunnels = 1'000'000;
constexpr std::uint32_t pool_first = 0x0a000000;  // 10.0.0.0/12, 2^20 addresses
constexpr std::uint32_t clients_a_network = 4096;
constexpr std::uint32_t page_size = 1000;
const char* const outer_address = "2001:db8:2::1";

TunnelSpec spec_of(std::uint32_t number, WallTime end, Generation generation) {
    static const auto first_client = test::v6("2001:db8:1::");
    static const auto endpoint = test::v6(outer_address);
    auto outer = first_client.bytes();
    const auto network = number / clients_a_network;
    outer[6] = static_cast<std::uint8_t>(network >> 8);
    outer[7] = static_cast<std::uint8_t>(network);
    for (std::size_t i = 0; i < 4; ++i) {
        outer[15 - i] = static_cast<std::uint8_t>((number + 1) >> (8 * i));
    }
    TunnelSpec spec;
    spec.inner = Ipv4Address(pool_first + 16 + number);
    spec.outer_client = {Ipv6Address(outer), 0};
    spec.outer_server = endpoint;
    spec.generation = generation;
    spec.expires_at = end;
    return spec;
}

template <class Action>
double seconds(Action action) {
    const auto start = std::chrono::steady_clock::now();
    action();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

[[noreturn]] void give_up(const Error& error) {
    progress("table: %s", to_string(error).c_str());
    std::exit(1);
}

void must(const Result<void>& done) {
    if (!done) give_up(done.error());
}

void measure_table(const Clock& clock) {
    tep::bpf::ProgramSettings settings;
    settings.outer = test::v6(outer_address);
    settings.pools = {*Ipv4Prefix::parse("10.0.0.0/12")};
    auto programs = tep::bpf::Programs::load(settings);
    if (!programs) give_up(programs.error());
    auto table = tep::bpf::EntryTable::open(*programs);
    if (!table) give_up(table.error());
    const auto end = clock.wall() + std::chrono::hours(1);
    const auto put_all = [&](Generation generation) {
        for (std::uint32_t i = 0; i < tunnels; ++i) {
            const auto spec = spec_of(i, end, generation);
            must(table->put(spec, {1, 0}, tep::bpf::tick_at(spec.expires_at, clock)));
        }
    };
    const nlohmann::json detail{{"layer", "map"}};
    report("table", "map_installs_per_second", tunnels / seconds([&] { put_all(1); }), "1/s",
           tunnels, detail);
    report("table", "map_resync_ms_1m", 1000 * seconds([&] { put_all(2); }), "ms", tunnels, detail);
    std::uint64_t sum = 0;
    const auto read = seconds([&] {
        table->for_each([&](const tep::bpf::TunnelView& view) {
            sum += view.entry.packets_up + view.entry.packets_down + view.entry.last_seen;
        });
    });
    report("table", "counters_read_ms_1m", 1000 * read, "ms", tunnels,
           {{"layer", "map"}, {"sum", sum}});
    constexpr double size = sizeof(dstm_entry) + sizeof(dstm_record);
    report("table", "bytes_per_tunnel", size, "bytes", tunnels,
           {{"entry", sizeof(dstm_entry)}, {"record", sizeof(dstm_record)}});
}

void measure_plane(const Clock& clock) {
    tep::bpf::BpfPlaneConfig config;
    config.outer = test::v6(outer_address);
    config.inner = Ipv4Address(pool_first + 1);
    config.pools = {*Ipv4Prefix::parse("10.0.0.0/12")};
    auto plane = tep::bpf::make_bpf_plane(config, clock);
    if (!plane) give_up(plane.error());
    const auto end = clock.wall() + std::chrono::hours(1);
    const auto add_all = [&](Generation generation) {
        for (std::uint32_t i = 0; i < tunnels; ++i)
            must((*plane)->add(spec_of(i, end, generation)));
    };
    const nlohmann::json detail{{"layer", "data plane"}};
    report("table", "installs_per_second", tunnels / seconds([&] { add_all(1); }), "1/s", tunnels,
           detail);
    report("table", "resync_ms_1m", 1000 * seconds([&] { add_all(1); }), "ms", tunnels, detail);
    report("table", "list_ms_1m", 1000 * seconds([&] {
                                      if ((*plane)->list().size() != tunnels) std::exit(1);
                                  }),
           "ms", tunnels, detail);
    std::vector<IpAddress> page;
    for (std::uint32_t i = 0; i < page_size; ++i) page.push_back(spec_of(i, end, 1).inner);
    const auto read = seconds([&] {
        if ((*plane)->counters(page).size() != page.size()) std::exit(1);
    });
    report("table", "page_ms_1k", 1000 * read, "ms", tunnels, detail);
}

}  // namespace
}  // namespace dstm::bench

int main() {
    const dstm::RealClock clock;
    dstm::bench::progress("table: the maps");
    dstm::bench::measure_table(clock);
    dstm::bench::progress("table: the data plane");
    dstm::bench::measure_plane(clock);
    return 0;
}
