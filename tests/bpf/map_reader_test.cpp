// Maps of an older layout, made here by hand: half as large an entry, without counters, and records
// that told the end of a lease as a number of hours.
#include <bpf/bpf.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "bpf/packets.hpp"
#include "tep/bpf/hook_records.hpp"
#include "tep/bpf/map_reader.hpp"

namespace dstm::tep::bpf {
namespace {

using dataplane::Descriptor;

struct Older {
    struct Entry {
        __u32 carried;
        __u32 expires;
        __u64 peer[2];
    };
    struct Record {
        __u32 generation;
        __u32 hours;
    };
    static dstm_entry entry(const Entry& entry) {
        dstm_entry today{};
        std::memcpy(today.peer, entry.peer, sizeof today.peer);
        today.state = entry.carried != 0 ? DSTM_ENTRY_CARRIED : 0;
        today.expires = entry.expires;
        return today;
    }
    static dstm_record record(const Record& record) {
        return {record.generation, record.hours * std::int64_t{3600}};
    }
};

class MapReader : public testing::Test {
protected:
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "making BPF maps needs root";
        LIBBPF_OPTS(bpf_map_create_opts, mapped);
        mapped.map_flags = BPF_F_MMAPABLE;
        add("pool_0", BPF_MAP_TYPE_ARRAY, sizeof(Older::Entry), 256, &mapped);
        add("records_0", BPF_MAP_TYPE_ARRAY, sizeof(Older::Record), 256, &mapped);
        add("outside", BPF_MAP_TYPE_HASH, sizeof(Older::Entry), 8, nullptr);
        add("outside_records", BPF_MAP_TYPE_HASH, sizeof(Older::Record), 8, nullptr);
        meta.version = 0;
        meta.pool_count = 1;
        meta.pools[0] = {test::v4("192.0.2.0").host_order(), 256};
        std::memcpy(entry.peer, test::v6("2001:db8:1::7").bytes().data(), sizeof entry.peer);
    }
    void add(const char* name, bpf_map_type type, std::size_t size, std::uint32_t count,
             const bpf_map_create_opts* options) {
        Descriptor map(bpf_map_create(type, name, sizeof(__u32), static_cast<__u32>(size), count,
                                      options));
        ASSERT_TRUE(map.is_open()) << std::strerror(errno);
        maps.emplace(name, std::move(map));
    }
    void put(const char* map, std::uint32_t key, const void* value) {
        ASSERT_EQ(bpf_map_update_elem(maps.at(map).number(), &key, value, BPF_ANY), 0);
    }

    Maps maps;
    dstm_meta meta{};
    Older::Entry entry{1, 4711, {}};
    Older::Record record{12, 500'000};
};

TEST_F(MapReader, TunnelsOfAnOlderLayoutMeanWhatTheyMeantThen) {
    put("pool_0", 7, &entry);
    put("records_0", 7, &record);
    const auto outside = test::v4("198.51.100.9").host_order();
    put("outside", outside, &entry);
    put("outside_records", outside, &record);
    const auto tunnels = bpf::MapReader<Older>(maps, meta).tunnels();
    ASSERT_TRUE(tunnels) << to_string(tunnels.error());
    ASSERT_EQ(tunnels->size(), 2u);
    EXPECT_EQ((*tunnels)[0].inner, test::v4("192.0.2.7"));
    EXPECT_EQ((*tunnels)[1].inner, test::v4("198.51.100.9"));
    for (const auto& tunnel : *tunnels) {
        EXPECT_EQ(std::memcmp(tunnel.entry.peer, entry.peer, sizeof entry.peer), 0);
        EXPECT_EQ(tunnel.entry.state, DSTM_ENTRY_CARRIED);
        EXPECT_EQ(tunnel.entry.expires, 4711u);
        EXPECT_EQ(tunnel.entry.packets_up, 0u);
        EXPECT_EQ(tunnel.record.generation, 12u);
        EXPECT_EQ(tunnel.record.expires_at, 1'800'000'000);
    }
}

TEST_F(MapReader, MapsThatAreSmallerThanTheySayAreInvalid) {
    meta.pools[0].size = 1 << 20;
    EXPECT_FALSE(bpf::MapReader<Older>(maps, meta).tunnels());
    maps.erase("records_0");
    EXPECT_EQ(bpf::MapReader<Older>(maps, meta).tunnels().error().code, ErrorCode::invalid);
}

// In layout 3 those outside the pools have slots.
TEST_F(MapReader, TunnelsOfLayout3OutsideThePoolsAreRead) {
    LIBBPF_OPTS(bpf_map_create_opts, mapped);
    mapped.map_flags = BPF_F_MMAPABLE;
    meta.pool_count = 0;
    LeftBehind behind{std::move(maps), meta};
    behind.meta.version = 3;
    maps.clear();
    EXPECT_EQ(behind.tunnels().error().code, ErrorCode::invalid) << "without these maps";
    add("outside_entries", BPF_MAP_TYPE_ARRAY, sizeof(dstm_entry), DSTM_OUTSIDE_MAX, &mapped);
    add("outside_records", BPF_MAP_TYPE_ARRAY, sizeof(dstm_outside_record), DSTM_OUTSIDE_MAX,
        &mapped);
    dstm_entry left{};
    left.peer[0] = 4711;
    left.state = DSTM_ENTRY_CARRIED | 5U << DSTM_ENTRY_USE_SHIFT;
    left.packets_up = 42;
    const dstm_outside_record lease{{12, 1'800'000'000}, test::v4("198.51.100.9").host_order(), 0};
    put("outside_entries", 3, &left);
    put("outside_records", 3, &lease);
    behind.maps = std::move(maps);
    const auto tunnels = behind.tunnels();
    ASSERT_TRUE(tunnels) << to_string(tunnels.error());
    ASSERT_EQ(tunnels->size(), 1u);
    EXPECT_EQ(tunnels->front().inner, test::v4("198.51.100.9"));
    EXPECT_EQ(tunnels->front().entry.packets_up, 42u);
    EXPECT_EQ(tunnels->front().record.generation, 12u);
}

// The kernel would write 4096 bytes where a struct has its place.
TEST_F(MapReader, MapsOfAnotherFormAreNotRead) {
    constexpr std::size_t too_long = 4096;
    add("meta", BPF_MAP_TYPE_ARRAY, too_long, 1, nullptr);
    EXPECT_EQ(meta_in(maps), std::nullopt);

    add("hooks", BPF_MAP_TYPE_HASH, too_long, 1, nullptr);
    const std::vector<std::uint8_t> value(too_long, 0xff);
    put("hooks", 1, value.data());
    EXPECT_TRUE(HookRecords(maps.at("hooks").number()).all().empty());

    maps.erase("outside_records");
    add("outside_records", BPF_MAP_TYPE_HASH, too_long, 8, nullptr);
    put("outside", 7, &entry);
    put("outside_records", 7, value.data());
    EXPECT_EQ(bpf::MapReader<Older>(maps, meta).tunnels().error().code, ErrorCode::invalid);

    maps.clear();
    add("ipv6_tunnels", BPF_MAP_TYPE_HASH, sizeof(dstm_entry), 8, nullptr);
    add("ipv6_records", BPF_MAP_TYPE_HASH, sizeof(dstm_ipv6_record), 8, nullptr);
    meta.version = 2;
    const LeftBehind behind{std::move(maps), meta};
    EXPECT_EQ(behind.ipv6_tunnels().error().code, ErrorCode::invalid) << "keys of 4 bytes";
}

// What comes first is the same in all layouts, what comes then may be more.
TEST_F(MapReader, NewerLayoutMayHaveALongerMeta) {
    add("meta", BPF_MAP_TYPE_ARRAY, 2 * sizeof(dstm_meta), 1, nullptr);
    std::array<dstm_meta, 2> newer{};
    newer[0].version = DSTM_LAYOUT_VERSION + 1;
    put("meta", 0, newer.data());
    ASSERT_TRUE(meta_in(maps));
    EXPECT_EQ(meta_in(maps)->version, DSTM_LAYOUT_VERSION + 1u);
}

// In layout 2 an address and a prefix had an entry each, in a hash.
TEST_F(MapReader, TunnelsOfLayout2WithIpv6InsideKeepTheirCounters) {
    struct Record {
        dstm_record lease;
        __u64 prefix[2];
        __u32 prefix_length;
        __u32 unused;
    };
    const auto add_hash = [&](const char* name, std::size_t size) {
        Descriptor map(bpf_map_create(BPF_MAP_TYPE_HASH, name, sizeof(dstm_ipv6_key),
                                      static_cast<__u32>(size), 8, nullptr));
        ASSERT_TRUE(map.is_open()) << std::strerror(errno);
        maps.insert_or_assign(name, std::move(map));
    };
    add_hash("ipv6_tunnels", sizeof(dstm_entry));
    add_hash("ipv6_records", sizeof(Record));
    const auto put_hash = [&](const char* map, const dstm_ipv6_key& key, const void* value) {
        ASSERT_EQ(bpf_map_update_elem(maps.at(map).number(), &key, value, BPF_ANY), 0);
    };
    const auto key = [](const char* address, __u32 length) {
        dstm_ipv6_key out{};
        std::memcpy(out.address, test::v6(address).bytes().data(), sizeof out.address);
        out.length = length;
        return out;
    };
    const auto address = key("2001:db8:100::7", 128);
    const auto prefix = key("2001:db8:200::", 56);
    const Record left{{12, 1'800'000'000}, {prefix.address[0], prefix.address[1]}, 56, 0};
    dstm_entry of_address{};
    of_address.peer[0] = 4711;
    of_address.state = DSTM_ENTRY_CARRIED;
    of_address.last_seen = 5;
    of_address.packets_up = 30;
    auto of_prefix = of_address;
    of_prefix.last_seen = 9;
    of_prefix.packets_up = 12;
    put_hash("ipv6_tunnels", address, &of_address);
    put_hash("ipv6_tunnels", prefix, &of_prefix);
    put_hash("ipv6_records", address, &left);
    LeftBehind behind{std::move(maps), meta};
    behind.meta.version = 2;
    const auto tunnels = behind.ipv6_tunnels();
    ASSERT_TRUE(tunnels) << to_string(tunnels.error());
    ASSERT_EQ(tunnels->size(), 1u);
    const auto& tunnel = tunnels->front();
    EXPECT_EQ(tunnel.entry.peer[0], 4711u);
    EXPECT_EQ(tunnel.entry.packets_up, 42u);
    EXPECT_EQ(tunnel.entry.last_seen, 9u);
    EXPECT_EQ(tunnel.record.lease.generation, 12u);
    EXPECT_EQ(tunnel.record.inner[0], address.address[0]);
    EXPECT_EQ(tunnel.record.inner[1], address.address[1]);
    EXPECT_EQ(tunnel.record.prefix[0], prefix.address[0]);
    EXPECT_EQ(tunnel.record.prefix_length, 56u);
}

}  // namespace
}  // namespace dstm::tep::bpf
