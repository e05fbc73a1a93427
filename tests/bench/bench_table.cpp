// ./dev bench table: installing, resynchronising and reading a million tunnels, and the memory
// they take.
//
// Runs in a network namespace that bench.py prepares: the outer address and a default IPv6 route.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <vector>

#include "common/io/real_clock.hpp"
#include "tep/bpf/bpf_plane.hpp"
#include "tep/bpf/entry_table.hpp"
#include "tep/bpf/ipv6_table.hpp"
#include "tep/bpf/mapped_array.hpp"
#include "tep/bpf/ticks.hpp"
#include "tests/bench/report.hpp"
#include "tests/bpf/packets.hpp"

namespace dstm::bench {
namespace {

constexpr std::uint32_t tunnels = 1'000'000;
constexpr std::uint32_t pool_first = 0x0a000000;  // 10.0.0.0/12
constexpr std::uint32_t pool_addresses = 1U << 20;
constexpr std::uint32_t outer_ipv4_first = 0x64400000;  // 100.64.0.0/10
constexpr std::uint32_t clients_a_network = 4096;
constexpr std::uint32_t page_size = 1000;
const char* const outer_address = "2001:db8:2::1";
const char* const outer_ipv4 = "203.0.113.1";

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

// What the kernel says that a map takes.
double memory_of(int map) {
    std::ifstream about("/proc/self/fdinfo/" + std::to_string(map));
    for (std::string name, value; about >> name >> value;) {
        if (name == "memlock:") return std::stod(value);
    }
    give_up({ErrorCode::unavailable, "the kernel does not say what a map takes"});
}

double to_tenths(double value) { return std::round(10 * value) / 10; }

// Of several passes over all tunnels, in milliseconds.
using Passes = std::array<double, 9>;

void report_median(const std::string& metric, Passes passes, std::uint64_t sum = 0) {
    std::ranges::sort(passes);
    report("table", metric, passes[passes.size() / 2], "ms", tunnels,
           {{"layer", "map"}, {"least", passes.front()}, {"most", passes.back()}, {"sum", sum}});
}

template <class Table>
void report_read(const Table& table, const std::string& metric) {
    Passes passes{};
    std::uint64_t sum = 0;
    for (auto& pass : passes) {
        pass = 1000 * seconds([&] {
            table.for_each([&](const auto& view) {
                sum += view.entry.packets_up + view.entry.packets_down + view.entry.last_seen +
                       view.last_seen_down;
            });
        });
    }
    report_median(metric, passes, sum);
}

// After a packet to each of them.
template <class Table>
void report_look(Table& table, int entries_map, const std::string& metric) {
    const auto entries = tep::bpf::MappedArray<dstm_entry>::map(entries_map, pool_addresses);
    if (!entries) give_up(entries.error());
    Passes passes{};
    for (auto& pass : passes) {
        for (auto& entry : entries->elements()) ++entry.packets_down;
        pass = 1000 * seconds([&] { table.look(tep::bpf::tick_now()); });
    }
    report_median(metric, passes);
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
    report_read(*table, "counters_read_ms_1m");
    report_look(*table, programs->pool_entries(0), "look_ms_1m");
    const auto entries = memory_of(programs->pool_entries(0));
    const auto records = memory_of(programs->pool_records(0));
    report("table", "bytes_per_tunnel", to_tenths((entries + records) / pool_addresses), "bytes",
           tunnels,
           {{"per", "address of the pool, used or not"},
            {"addresses", pool_addresses},
            {"entries_memlock", entries},
            {"records_memlock", records}});
}

TunnelSpec ipv6_spec_of(std::uint32_t number, WallTime end, bool with_prefix) {
    auto inner = test::v6("2001:db8:a::").bytes();
    auto prefix = test::v6("3fff::").bytes();  // RFC 9637
    for (std::size_t i = 0; i < 4; ++i) {
        const auto byte = static_cast<std::uint8_t>((number + 1) >> (8 * i));
        inner[15 - i] = byte;
        prefix[6 - i] = byte;
    }
    TunnelSpec spec;
    spec.type = TunnelType::v6v4;
    spec.inner = Ipv6Address(inner);
    if (with_prefix) spec.inner_prefix = Ipv6Prefix{Ipv6Address(prefix), 56};
    spec.outer_client = {Ipv4Address(outer_ipv4_first + number), 0};
    spec.outer_server = test::v4(outer_ipv4);
    spec.generation = 1;
    spec.expires_at = end;
    return spec;
}

// First each with an address, then with a prefix too: two keys in the hash.
void measure_ipv6_table(const Clock& clock) {
    tep::bpf::ProgramSettings settings;
    settings.outer = test::v6(outer_address);
    settings.outer_ipv4 = test::v4(outer_ipv4);
    settings.inner_ipv6 = test::v6("2001:db8:a::");
    auto programs = tep::bpf::Programs::load(settings);
    if (!programs) give_up(programs.error());
    auto table = tep::bpf::Ipv6Table::open(*programs);
    if (!table) give_up(table.error());
    const auto end = clock.wall() + std::chrono::hours(1);
    const auto put_all = [&](bool with_prefix) {
        for (std::uint32_t i = 0; i < tunnels; ++i) {
            const auto spec = ipv6_spec_of(i, end, with_prefix);
            must(table->put(spec, tep::bpf::tick_at(spec.expires_at, clock)));
        }
    };
    const auto hash_memory = [&] { return memory_of(programs->ipv6_slots()); };
    const auto buckets = hash_memory();
    report("table", "map_installs_per_second_v6", tunnels / seconds([&] { put_all(false); }), "1/s",
           tunnels, {{"layer", "map"}});
    report_read(*table, "counters_read_ms_1m_v6");
    report_look(*table, programs->ipv6_entries(), "look_ms_1m_v6");
    const auto with_addresses = hash_memory();
    put_all(true);
    const auto entries = memory_of(programs->ipv6_entries());
    const auto records = memory_of(programs->ipv6_records());
    const double slots = tep::bpf::ipv6_slots_of(settings);
    const auto bytes = [&](double hash) {
        return to_tenths((entries + records + buckets) / slots + (hash - buckets) / tunnels);
    };
    report("table", "bytes_per_tunnel_v6", bytes(with_addresses), "bytes", tunnels,
           {{"per", "tunnel with an address; arrays and buckets: slot, used or not"},
            {"with_prefix", bytes(hash_memory())},
            {"slots", slots},
            {"entries_memlock", entries},
            {"records_memlock", records},
            {"buckets_memlock", buckets},
            {"keys_memlock", with_addresses - buckets}});
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
    dstm::bench::progress("table: the maps of tunnels with IPv6 inside");
    dstm::bench::measure_ipv6_table(clock);
    dstm::bench::progress("table: the data plane");
    dstm::bench::measure_plane(clock);
    return 0;
}
