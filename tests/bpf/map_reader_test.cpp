// Maps of an older layout, made here by hand: half as large an entry, without counters, and records
// that told the end of a lease as a number of hours.
#include <bpf/bpf.h>
#include <unistd.h>

#include <cstring>

#include <gtest/gtest.h>

#include "bpf/packets.hpp"
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

}  // namespace
}  // namespace dstm::tep::bpf
