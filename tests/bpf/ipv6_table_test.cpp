// The table of tunnels with IPv6 inside: slots and the keys that lead to them.
#include <chrono>
#include <cstring>

#include <bpf/bpf.h>
#include <fcntl.h>
#include <unistd.h>

#include "bpf/ipv6_endpoint.hpp"

namespace dstm::test {
namespace {

using tep::bpf::Ipv6Table;
using tep::bpf::Ipv6TunnelView;

constexpr std::uint32_t never = 0xffffffff;

TunnelSpec spec(std::uint32_t number, Generation generation = 1) {
    TunnelSpec out;
    out.type = TunnelType::v6v4;
    auto inner = v6("2001:db8:100::").bytes();
    for (std::size_t i = 0; i < 4; ++i) inner[15 - i] = static_cast<std::uint8_t>(number >> 8 * i);
    out.inner = Ipv6Address(inner);
    out.outer_client = {Ipv4Address(0x0a000000 + number), 0};
    out.outer_server = v4("198.51.100.1");
    out.generation = generation;
    return out;
}

Ipv6Address inner_of(const TunnelSpec& spec) { return std::get<Ipv6Address>(spec.inner); }

class Ipv6TableTest : public testing::Test {
protected:
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "loading BPF programs needs root";
        open(4);
    }
    void open(std::uint32_t tunnels) {
        auto settings = Endpoint::default_settings();
        settings.outer_ipv4 = v4("198.51.100.1");
        settings.ipv6_tunnels_max = tunnels;
        auto opened = Endpoint::open(settings);
        ASSERT_TRUE(opened) << to_string(opened.error());
        endpoint = std::move(*opened);
    }
    [[nodiscard]] Ipv6Table& table() { return endpoint->ipv6_table(); }
    [[nodiscard]] int keys() { return endpoint->programs().ipv6_slots(); }
    [[nodiscard]] static dstm_ipv6_key key(const Ipv6Address& address, std::uint32_t length = 128) {
        dstm_ipv6_key out{};
        std::memcpy(out.address, address.bytes().data(), sizeof out.address);
        out.length = length;
        return out;
    }
    [[nodiscard]] std::vector<TunnelSpec> full() {
        std::vector<TunnelSpec> out;
        for (std::uint32_t i = 1; i <= 4; ++i) out.push_back(spec(i));
        for (const auto& one : out) EXPECT_TRUE(table().put(one, never));
        return out;
    }

    std::unique_ptr<Endpoint> endpoint;
};

TEST_F(Ipv6TableTest, IsFullWhenItIsFullAndSlotsServeAgain) {
    const auto specs = full();
    EXPECT_EQ(table().put(spec(5), never).error().code, ErrorCode::exhausted);
    EXPECT_TRUE(table().put(spec(4, 2), never)) << "no new one";
    ASSERT_TRUE(table().remove(inner_of(specs[1]), 1));
    EXPECT_TRUE(table().put(spec(5), never));
    EXPECT_FALSE(table().holds(inner_of(specs[1])));
    EXPECT_TRUE(table().holds(inner_of(spec(5))));
    EXPECT_EQ(table().size(), 4u);
}

TEST_F(Ipv6TableTest, OlderGenerationIsAConflict) {
    ASSERT_TRUE(table().put(spec(1, 5), never));
    EXPECT_TRUE(table().put(spec(1, 5), never));
    EXPECT_EQ(table().put(spec(1, 4), never).error().code, ErrorCode::conflict);
    EXPECT_EQ(table().remove(inner_of(spec(1)), 4).error().code, ErrorCode::conflict);
    EXPECT_TRUE(table().remove(inner_of(spec(1)), 5));
    EXPECT_EQ(table().remove(inner_of(spec(1)), 5).error().code, ErrorCode::not_found);
    EXPECT_EQ(table().size(), 0u);
}

TEST_F(Ipv6TableTest, PrefixOfAnotherStaysWhenTheFirstOneLosesIt) {
    const auto prefix = Ipv6Prefix::parse("2001:db8:200::/56").value();
    auto first = spec(1);
    auto second = spec(2);
    first.inner_prefix = second.inner_prefix = prefix;
    ASSERT_TRUE(table().put(first, never));
    ASSERT_TRUE(table().put(second, never));
    ASSERT_TRUE(table().remove(inner_of(first), 1));
    EXPECT_TRUE(table().holds(v6("2001:db8:200::5")));
    ASSERT_TRUE(table().remove(inner_of(second), 1));
    EXPECT_FALSE(table().holds(v6("2001:db8:200::5")));
}

// As a writer leaves it that is killed between two steps.
TEST_F(Ipv6TableTest, NextOneMendsKeys) {
    auto specs = full();
    const auto gone = key(inner_of(specs[2]));
    const auto foreign = key(v6("2001:db8:100::77"));
    const std::uint32_t slot = 1;
    ASSERT_EQ(bpf_map_delete_elem(keys(), &gone), 0);
    ASSERT_EQ(bpf_map_update_elem(keys(), &foreign, &slot, BPF_ANY), 0);
    const auto next = Ipv6Table::open(endpoint->programs());
    ASSERT_TRUE(next) << to_string(next.error());
    EXPECT_EQ(next->size(), 4u);
    std::uint32_t found = 0;
    EXPECT_NE(bpf_map_lookup_elem(keys(), &foreign, &found), 0);
    ASSERT_EQ(bpf_map_lookup_elem(keys(), &gone, &found), 0);
    EXPECT_EQ(found, 2u);
}

// The descriptors of the maps lead nowhere meanwhile: all comes from this process's memory.
TEST_F(Ipv6TableTest, CountersAreReadWithoutSystemCalls) {
    constexpr std::uint32_t tunnels = 100'000;
    open(tunnels);
    for (std::uint32_t i = 0; i < tunnels; ++i) ASSERT_TRUE(table().put(spec(i + 1), never));
    auto& programs = endpoint->programs();
    const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (const int map :
         {programs.ipv6_slots(), programs.ipv6_entries(), programs.ipv6_records()}) {
        ASSERT_GE(::dup3(nothing, map, O_CLOEXEC), 0);
    }
    ::close(nothing);
    const auto start = std::chrono::steady_clock::now();
    std::uint64_t seen = 0;
    table().for_each([&](const Ipv6TunnelView& view) {
        seen += view.entry.state == DSTM_ENTRY_CARRIED && view.entry.last_seen == 0;
    });
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    EXPECT_EQ(seen, tunnels);
    RecordProperty("milliseconds", std::to_string(took.count()));
    EXPECT_EQ(table().put(spec(tunnels + 1), never).error().code, ErrorCode::exhausted);
}

}  // namespace
}  // namespace dstm::test
