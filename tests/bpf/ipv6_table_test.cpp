// The table of tunnels with IPv6 inside: slots and the keys that lead to them.
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

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
    [[nodiscard]] std::uint64_t lead(const dstm_ipv6_key& of) {
        return tep::bpf::lead_of(keys(), of).value_or(0);
    }
    void set_lead(const dstm_ipv6_key& of, std::uint64_t lead) {
        ASSERT_TRUE(tep::bpf::write_key(keys(), of, lead));
    }
    // Packets to this address have a tunnel.
    [[nodiscard]] bool is_carried(const Ipv6Address& inner) {
        const auto text = inner.to_string();
        Ipv6 packet;
        packet.source = remote;
        packet.destination = text.c_str();
        return endpoint->down_ipv6(make(packet)).verdict == 0;
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

// Behind one address are several clients by UDP.
TEST_F(Ipv6TableTest, PathMtuIsThatOfTheTunnelsOfOneAddress) {
    const auto path_mtu = [&](std::uint32_t number) {
        return table().find(inner_of(spec(number))).value().path_mtu;
    };
    const auto address = v4("10.9.9.9");
    for (std::uint32_t number = 1; number <= 3; ++number) {
        auto one = spec(number);
        one.type = TunnelType::v6udpv4;
        one.outer_client = {address, static_cast<std::uint16_t>(4000 + number)};
        ASSERT_TRUE(table().put(one, never));
    }
    ASSERT_TRUE(table().put(spec(4), never));
    table().set_path_mtu(address, 1400);
    for (std::uint32_t number = 1; number <= 3; ++number) EXPECT_EQ(path_mtu(number), 1400);
    EXPECT_EQ(path_mtu(4), 0);
    ASSERT_TRUE(table().put(spec(2, 2), never)) << "it moves, to where nothing is known";
    EXPECT_EQ(path_mtu(2), 0);
    ASSERT_TRUE(table().remove(inner_of(spec(3)), 1));
    ASSERT_TRUE(table().put(spec(3), never, 1350)) << "it comes again, where something is known";
    EXPECT_EQ(path_mtu(3), 1350);
    table().set_path_mtu(address, 0);
    EXPECT_EQ(path_mtu(1), 0);
    EXPECT_EQ(path_mtu(3), 1350);
}

TEST_F(Ipv6TableTest, PacketDownIsSeenBySomebodyWhoLooks) {
    const auto seen = [](const Ipv6Table& table, std::uint32_t number) {
        return table.find(inner_of(spec(number))).value().last_seen_down;
    };
    static_cast<void>(full());
    table().look(1);
    EXPECT_EQ(seen(table(), 2), 0u);
    const auto entries =
        tep::bpf::MappedArray<dstm_entry>::map(endpoint->programs().ipv6_entries(), 4);
    ASSERT_TRUE(entries);
    const auto before = tep::bpf::tick_now();
    ++entries->elements()[1].packets_down;  // as a program does
    EXPECT_GE(seen(table(), 2), before) << "as soon as it is asked for";
    table().look(2);
    table().look(3);
    EXPECT_EQ(seen(table(), 2), 2u);
    auto moved = spec(2, 2);
    moved.outer_client = {v4("10.9.9.9"), 0};
    ASSERT_TRUE(table().put(moved, never));
    table().for_each([&](const Ipv6TunnelView& view) {
        EXPECT_EQ(view.last_seen_down, view.inner == inner_of(moved) ? 2u : 0u);
    });
    auto next = Ipv6Table::open(endpoint->programs());
    ASSERT_TRUE(next);
    next->look(0xffffffff);
    EXPECT_GE(seen(*next, 2), before) << "when it was is not known any more";
    EXPECT_LT(seen(*next, 2), 0xffffffff);
    EXPECT_EQ(seen(*next, 3), 0u);
    ASSERT_TRUE(table().remove(inner_of(moved), 2));
    ASSERT_TRUE(table().put(spec(5), never)) << "in the same slot";
    EXPECT_EQ(seen(table(), 5), 0u);
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
    const auto right = lead(gone);
    const auto of_second = lead(key(inner_of(specs[1])));
    ASSERT_EQ(bpf_map_delete_elem(keys(), &gone), 0);
    set_lead(foreign, of_second);
    set_lead(key(inner_of(specs[3])), lead(key(inner_of(specs[3]))) + (std::uint64_t{1} << 32));
    const auto next = Ipv6Table::open(endpoint->programs());
    ASSERT_TRUE(next) << to_string(next.error());
    EXPECT_EQ(next->size(), 4u);
    std::uint64_t found = 0;
    EXPECT_NE(bpf_map_lookup_elem(keys(), &foreign, &found), 0);
    EXPECT_EQ(lead(gone), right);
    for (const auto& one : specs) EXPECT_TRUE(is_carried(inner_of(one))) << to_string(one.inner);
}

// A tunnel is taken out by its state first, and last by its record.
TEST_F(Ipv6TableTest, NextOneFreesTheSlotOfATunnelThatIsHalfGone) {
    const auto specs = full();
    const std::uint32_t slot = 1;
    auto entry = table().find(inner_of(specs[slot])).value();
    entry.state &= ~DSTM_ENTRY_CARRIED;
    ASSERT_EQ(bpf_map_update_elem(endpoint->programs().ipv6_entries(), &slot, &entry, BPF_ANY), 0);
    auto next = Ipv6Table::open(endpoint->programs());
    ASSERT_TRUE(next) << to_string(next.error());
    EXPECT_EQ(next->size(), 3u);
    EXPECT_FALSE(next->holds(inner_of(specs[slot])));
    ASSERT_TRUE(next->put(specs[slot], never));
    EXPECT_TRUE(is_carried(inner_of(specs[slot])));
}

// A program reads a key, and the next moment its tunnel is gone and the slot another's.
TEST_F(Ipv6TableTest, KeyOfAnEarlierTunnelDoesNotLeadToTheNextOne) {
    const auto specs = full();
    const auto earlier = key(inner_of(specs[1]));
    const auto held = lead(earlier);
    for (std::uint32_t number = 5; number < 8; ++number) {
        const auto standing = number == 5 ? inner_of(specs[1]) : inner_of(spec(number - 1));
        ASSERT_TRUE(table().remove(standing, 1));
        ASSERT_TRUE(table().put(spec(number), never));
        ASSERT_EQ(static_cast<std::uint32_t>(lead(key(inner_of(spec(number))))),
                  static_cast<std::uint32_t>(held))
            << "the only slot that was free";
        set_lead(earlier, held);
        EXPECT_FALSE(is_carried(inner_of(specs[1])));
        EXPECT_TRUE(is_carried(inner_of(spec(number))));
    }
}

// The kernel gives an element of the hash that was removed to another key, while a program reads.
TEST_F(Ipv6TableTest, LeadOfAnotherKeyIsNotFollowed) {
    const auto specs = full();
    set_lead(key(inner_of(specs[0])), lead(key(inner_of(specs[1]))));
    EXPECT_FALSE(is_carried(inner_of(specs[0])));
    EXPECT_TRUE(is_carried(inner_of(specs[1])));
}

TEST_F(Ipv6TableTest, LongestPrefixOfAnyLengthIsFound) {
    struct Row {
        const char* prefix;
        const char* in_it;
    };
    open(16);
    const Row rows[] = {{"2001:db8:200::/40", "2001:db8:2ff::1"},
                        {"2001:db8:200::/56", "2001:db8:200:ff::1"},
                        {"2001:db8:200::/60", "2001:db8:200:f::1"},
                        {"2001:db8:200::/64", "2001:db8:200:0:ffff::1"},
                        {"2001:db8:200::/65", "2001:db8:200:0:7fff::1"},
                        {"2001:db8:200::/127", "2001:db8:200::1"},
                        {"8000::/1", "ffff::1"}};
    std::uint32_t number = 0;
    for (const auto& row : rows) {
        auto one = spec(++number);
        one.inner_prefix = Ipv6Prefix::parse(row.prefix).value();
        ASSERT_TRUE(table().put(one, never));
    }
    for (number = 0; number < std::size(rows) - 1; ++number) {
        const auto address = v6(rows[number].in_it);
        EXPECT_TRUE(is_carried(address)) << rows[number].prefix;
        EXPECT_TRUE(table().holds(address)) << rows[number].prefix;
        ASSERT_TRUE(table().remove(inner_of(spec(number + 1)), 1));
        EXPECT_FALSE(is_carried(address)) << rows[number].prefix;
        EXPECT_FALSE(table().holds(address)) << rows[number].prefix;
    }
}

// Of the lengths of prefixes the longest come and go, a hundred thousand times.
TEST_F(Ipv6TableTest, PrefixIsFoundWhileOthersOfAnotherLengthComeAndGo) {
    auto holder = spec(1);
    holder.inner_prefix = Ipv6Prefix::parse("2001:db8:200::/56").value();
    auto inside = spec(2);
    inside.inner_prefix = Ipv6Prefix::parse("2001:db8:200::/60").value();
    ASSERT_TRUE(table().put(holder, never));
    ASSERT_TRUE(table().put(inside, 0)) << "ended: who is taken for it is not carried";
    std::atomic<bool> is_done = false;
    std::thread writer([&] {
        for (std::uint32_t i = 0; i < 100'000; ++i) {
            auto other = spec(3);
            other.inner_prefix = Ipv6Prefix{v6("2001:db8:300::"), std::uint8_t(i % 2 ? 62 : 64)};
            EXPECT_TRUE(table().put(other, never));
            EXPECT_TRUE(table().remove(inner_of(other), 1));
        }
        is_done = true;
    });
    std::uint64_t missed = 0;
    while (!is_done) missed += !is_carried(v6("2001:db8:200:80::1"));
    writer.join();
    EXPECT_EQ(missed, 0u);
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
        seen += (view.entry.state & DSTM_ENTRY_CARRIED) != 0 && view.entry.last_seen == 0;
    });
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    EXPECT_EQ(seen, tunnels);
    RecordProperty("milliseconds", std::to_string(took.count()));
    EXPECT_EQ(table().put(spec(tunnels + 1), never).error().code, ErrorCode::exhausted);
}

}  // namespace
}  // namespace dstm::test
