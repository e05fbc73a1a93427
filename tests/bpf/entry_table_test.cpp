// The table of tunnels in the maps, the loading of the programs, and what is said when it fails.
#include <atomic>
#include <functional>
#include <thread>

#include <bpf/bpf.h>
#include <fcntl.h>
#include <unistd.h>

#include "bpf/test_run.hpp"
#include "tep/bpf/slots.hpp"

namespace dstm::test {
namespace {

using tep::bpf::Programs;

TunnelSpec spec(const char* inner, const char* outer, Generation generation) {
    TunnelSpec out;
    out.inner = v4(inner);
    out.outer_client = {v6(outer), 0};
    out.outer_server = v6(Endpoint::outer);
    out.generation = generation;
    return out;
}

constexpr std::uint32_t never = 0xffffffff;

class EntryTable : public ProgramTest {
protected:
    [[nodiscard]] tep::bpf::EntryTable& table() { return endpoint->table(); }
    [[nodiscard]] int keys() { return endpoint->programs().outside_slots(); }
    [[nodiscard]] std::uint64_t lead(const char* inner) {
        return tep::bpf::lead_of(keys(), v4(inner).host_order()).value_or(0);
    }
    void set_lead(const char* inner, std::uint64_t lead) {
        ASSERT_TRUE(tep::bpf::write_key(keys(), v4(inner).host_order(), lead));
    }
    // Packets to this address have a tunnel.
    [[nodiscard]] bool is_carried(const char* inner) {
        const auto outcome = endpoint->down(make(Inner{v4("203.0.113.80"), v4(inner)}));
        return outcome.packet.size() >= 40 && outcome.packet[0] >> 4 == 6;
    }
    void change_entry(int map, std::uint32_t index,
                      const std::function<void(dstm_entry&)>& change) {
        dstm_entry entry{};
        ASSERT_EQ(bpf_map_lookup_elem(map, &index, &entry), 0);
        change(entry);
        ASSERT_EQ(bpf_map_update_elem(map, &index, &entry, BPF_ANY), 0);
    }
    [[nodiscard]] tep::bpf::EntryTable next() {
        auto opened = tep::bpf::EntryTable::open(endpoint->programs());
        if (!opened) ADD_FAILURE() << to_string(opened.error());
        return std::move(*opened);
    }
};

TEST_F(EntryTable, NewerGenerationReplacesAndCountersStay) {
    const Inner from{v4("192.0.2.7"), v4("203.0.113.80")};
    const auto send = [&](const char* outer) {
        return endpoint->up(make(Outer{v6(outer), v6(Endpoint::outer)}, make(from))).verdict;
    };
    EXPECT_EQ(send("2001:db8:1::7"), 0);
    ASSERT_TRUE(endpoint->table().put(spec("192.0.2.7", "2001:db8:5::7", 2), {}, 0xffffffff));
    EXPECT_EQ(send("2001:db8:5::7"), 0);
    EXPECT_NE(send("2001:db8:1::7"), 0);
    EXPECT_EQ(endpoint->entry("192.0.2.7").packets_up, 2U);
    EXPECT_EQ(endpoint->table().size(), 3U);
    EXPECT_EQ(endpoint->drops(), (std::map<std::string, std::uint64_t>{{"spoofed_outer", 1}}));
}

TEST_F(EntryTable, OlderGenerationIsAConflict) {
    for (const auto* inner : {"192.0.2.50", "198.51.100.50"}) {
        auto& table = endpoint->table();
        ASSERT_TRUE(table.put(spec(inner, "2001:db8:1::50", 5), {}, 0xffffffff));
        EXPECT_TRUE(table.put(spec(inner, "2001:db8:1::50", 5), {}, 0xffffffff));
        EXPECT_EQ(table.put(spec(inner, "2001:db8:1::51", 4), {}, 0xffffffff).error().code,
                  ErrorCode::conflict);
        EXPECT_EQ(table.remove(v4(inner), 4).error().code, ErrorCode::conflict);
        EXPECT_TRUE(table.remove(v4(inner), 5));
        EXPECT_EQ(table.remove(v4(inner), 5).error().code, ErrorCode::not_found);
        EXPECT_FALSE(table.leads_to(v6("2001:db8:1::50")));
    }
    EXPECT_EQ(endpoint->table().size(), 3U);
}

// A daemon that died in the middle of a change may have left half of one address and half of
// another.
TEST_F(EntryTable, NewTunnelStartsAtZero) {
    const auto packet = make({v4("203.0.113.80"), v4("192.0.2.7")});
    static_cast<void>(endpoint->down(packet));
    ASSERT_TRUE(endpoint->table().remove(v4("192.0.2.7"), 1));
    ASSERT_TRUE(endpoint->table().put(spec("192.0.2.7", "2001:db8:1::7", 9), {}, 0xffffffff));
    EXPECT_EQ(endpoint->entry("192.0.2.7").packets_down, 0U);
}

TEST_F(EntryTable, PacketDownIsSeenBySomebodyWhoLooks) {
    for (const auto* inner : {"192.0.2.50", "198.51.100.50"}) {
        const auto seen = [&] { return table().find(v4(inner)).value().last_seen_down; };
        ASSERT_TRUE(table().put(spec(inner, "2001:db8:1::50", 1), {}, never));
        table().look(1);
        EXPECT_EQ(seen(), 0u);
        const auto before = tep::bpf::tick_now();
        ASSERT_TRUE(is_carried(inner));
        EXPECT_GE(seen(), before) << "as soon as it is asked for";
        table().look(2);
        table().look(3);
        EXPECT_EQ(seen(), 2u);
        ASSERT_TRUE(table().put(spec(inner, "2001:db8:1::51", 2), {}, never)) << "it moves";
        EXPECT_EQ(seen(), 2u);
        table().for_each([&](const tep::bpf::TunnelView& view) {
            EXPECT_EQ(view.last_seen_down, view.inner == v4(inner) ? 2u : 0u);
        });
        ASSERT_TRUE(table().remove(v4(inner), 2));
        ASSERT_TRUE(table().put(spec(inner, "2001:db8:1::50", 3), {}, never));
        table().look(4);
        EXPECT_EQ(seen(), 0u) << "another tunnel";
        ASSERT_TRUE(table().remove(v4(inner), 3));
    }
}

// When it was carried is not known any more.
TEST_F(EntryTable, NextOneHasSeenWhatIsCountedAlready) {
    for (const auto* inner : {"192.0.2.50", "192.0.2.51", "198.51.100.50", "198.51.100.51"}) {
        ASSERT_TRUE(table().put(spec(inner, "2001:db8:1::50", 1), {}, never));
    }
    for (const auto* inner : {"192.0.2.50", "198.51.100.50"}) ASSERT_TRUE(is_carried(inner));
    const auto started = tep::bpf::tick_now();
    auto adopted = next();
    adopted.look(0xffffffff);
    const auto seen = [&](const char* inner) {
        return adopted.find(v4(inner)).value().last_seen_down;
    };
    for (const auto* inner : {"192.0.2.50", "198.51.100.50"}) {
        EXPECT_GE(seen(inner), started);
        EXPECT_LT(seen(inner), 0xffffffff);
    }
    for (const auto* inner : {"192.0.2.51", "198.51.100.51"}) EXPECT_EQ(seen(inner), 0u);
}

// Outside the pools too an entry stays where it is: what leads to it is not touched.
TEST_F(EntryTable, TunnelOutsideThePoolsIsChangedWithoutSystemCalls) {
    const auto* inner = "198.51.100.50";
    ASSERT_TRUE(table().put(spec(inner, "2001:db8:1::50", 1), {}, never));
    ASSERT_TRUE(is_carried(inner));
    auto& programs = endpoint->programs();
    const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (const int map :
         {programs.outside_slots(), programs.outside_entries(), programs.outside_records()}) {
        ASSERT_GE(::dup3(nothing, map, O_CLOEXEC), 0);
    }
    ::close(nothing);
    table().set_way(v4(inner), {7, 1400});
    dstm_entry entry = table().find(v4(inner)).value();
    EXPECT_EQ(entry.next_hop, 7);
    EXPECT_EQ(entry.path_mtu, 1400);
    ASSERT_TRUE(table().put(spec(inner, "2001:db8:1::51", 2), {}, never));
    EXPECT_TRUE(table().leads_to(v6("2001:db8:1::51")));
    EXPECT_FALSE(table().leads_to(v6("2001:db8:1::50")));
    entry = endpoint->entry(inner);
    EXPECT_EQ(tep::bpf::peer_of(entry), v6("2001:db8:1::51"));
    EXPECT_EQ(entry.packets_down, 1u);
    EXPECT_TRUE(is_carried(inner)) << "the program knows the maps by themselves";
}

TEST_F(EntryTable, WayToAPeerIsThatOfItsTunnelsAlone) {
    const auto peer = v6("2001:db8:1::50");
    const auto ways = [&](const std::vector<const char*>& of) {
        std::vector<int> out;
        for (const auto* inner : of) out.push_back(table().find(v4(inner)).value().path_mtu);
        return out;
    };
    const std::vector<const char*> all{"192.0.2.50", "198.51.100.50", "192.0.2.51", "192.0.2.52"};
    for (const auto* inner : all) {
        ASSERT_TRUE(table().put(spec(inner, "2001:db8:1::50", 1), {}, never));
    }
    ASSERT_TRUE(table().put(spec("192.0.2.52", "2001:db8:1::52", 2), {}, never)) << "it moves";
    table().set_way(peer, {7, 1400});
    EXPECT_EQ(ways(all), (std::vector{1400, 1400, 1400, 0}));
    EXPECT_EQ(table().find(v4("198.51.100.50")).value().next_hop, 7);
    EXPECT_EQ(ways({"192.0.2.7"}), std::vector{0}) << "of another peer from the start";
    ASSERT_TRUE(table().remove(v4("192.0.2.50"), 1));
    ASSERT_TRUE(table().put(spec("192.0.2.52", "2001:db8:1::50", 3), {}, never)) << "and back";
    auto adopted = next();
    adopted.set_way(peer, {7, 1300});
    EXPECT_EQ(ways({"198.51.100.50", "192.0.2.51", "192.0.2.52"}), (std::vector{1300, 1300, 1300}));
    EXPECT_FALSE(adopted.find(v4("192.0.2.50")));
}

TEST_F(EntryTable, NoPacketIsUncountedWhileWaysChange) {
    const auto* inner = "198.51.100.50";
    ASSERT_TRUE(table().put(spec(inner, "2001:db8:1::50", 1), {}, never));
    std::atomic<bool> is_done = false;
    std::thread writer([&] {
        while (!is_done) table().set_way(v4(inner), {0, 0});
    });
    constexpr std::uint64_t packets = 20'000;
    for (std::uint64_t i = 0; i < packets; ++i) ASSERT_TRUE(is_carried(inner));
    is_done = true;
    writer.join();
    EXPECT_EQ(endpoint->entry(inner).packets_down, packets);
}

// A program reads a key, and the next moment its tunnel is gone and the slot another's.
TEST_F(EntryTable, KeyOfAnEarlierTunnelDoesNotLeadToTheNextOne) {
    const auto* earlier = "198.51.100.50";
    const auto* later = "198.51.100.51";
    ASSERT_TRUE(table().put(spec(earlier, "2001:db8:1::50", 1), {}, never));
    const auto held = lead(earlier);
    for (std::uint32_t i = 1; i < DSTM_OUTSIDE_MAX; ++i) {
        auto other = spec(earlier, "2001:db8:1::60", 1);
        other.inner = Ipv4Address(v4("10.0.0.0").host_order() + i);
        ASSERT_TRUE(table().put(other, {}, never));
    }
    EXPECT_EQ(table().put(spec(later, "2001:db8:1::51", 1), {}, never).error().code,
              ErrorCode::exhausted);
    ASSERT_TRUE(table().remove(v4(earlier), 1));
    ASSERT_TRUE(table().put(spec(later, "2001:db8:1::51", 1), {}, never));
    EXPECT_EQ(static_cast<std::uint32_t>(lead(later)), static_cast<std::uint32_t>(held))
        << "the only slot that was free";
    const auto other = v4("10.0.0.1").host_order();
    ASSERT_EQ(bpf_map_delete_elem(keys(), &other), 0) << "the hash has no more room either";
    set_lead(earlier, held);
    EXPECT_FALSE(is_carried(earlier));
    EXPECT_TRUE(is_carried(later));
    EXPECT_NE(endpoint->up(make(Outer{v6("2001:db8:1::51"), v6(Endpoint::outer)},
                                make({v4(earlier), v4("203.0.113.80")}))).verdict, 0);
}

// The kernel gives an element of the hash that was removed to another key, while a program reads.
TEST_F(EntryTable, LeadOfAnotherKeyIsNotFollowed) {
    ASSERT_TRUE(table().put(spec("198.51.100.50", "2001:db8:1::50", 1), {}, never));
    ASSERT_TRUE(table().put(spec("198.51.100.51", "2001:db8:1::51", 1), {}, never));
    set_lead("198.51.100.50", lead("198.51.100.51"));
    EXPECT_FALSE(is_carried("198.51.100.50"));
    EXPECT_TRUE(is_carried("198.51.100.51"));
}

TEST_F(EntryTable, SlotServesAgainAfterAllThatAreFree) {
    ASSERT_TRUE(table().put(spec("198.51.100.50", "2001:db8:1::50", 1), {}, never));
    const auto held = lead("198.51.100.50");
    ASSERT_TRUE(table().remove(v4("198.51.100.50"), 1));
    ASSERT_TRUE(table().put(spec("198.51.100.50", "2001:db8:1::50", 1), {}, never));
    EXPECT_NE(static_cast<std::uint32_t>(lead("198.51.100.50")), static_cast<std::uint32_t>(held));
}

// As a writer leaves it that is killed between two steps.
TEST_F(EntryTable, NextOneMendsKeysOutsideThePools) {
    for (const auto* inner : {"198.51.100.50", "198.51.100.51", "198.51.100.52"}) {
        ASSERT_TRUE(table().put(spec(inner, "2001:db8:1::50", 1), {}, never));
    }
    const auto right = lead("198.51.100.50");
    const auto gone = v4("198.51.100.50").host_order();
    ASSERT_EQ(bpf_map_delete_elem(keys(), &gone), 0);
    set_lead("198.51.100.77", lead("198.51.100.51"));
    change_entry(endpoint->programs().outside_entries(), 2,
                 [](dstm_entry& entry) { entry.state &= ~DSTM_ENTRY_CARRIED; });
    const auto mended = next();
    EXPECT_EQ(mended.size(), table().size() - 1) << "one was half gone";
    EXPECT_EQ(lead("198.51.100.50"), right);
    EXPECT_EQ(lead("198.51.100.77"), 0u);
    EXPECT_EQ(lead("198.51.100.52"), 0u);
    EXPECT_TRUE(is_carried("198.51.100.50"));
    EXPECT_TRUE(is_carried("198.51.100.51"));
    EXPECT_FALSE(mended.holds(v4("198.51.100.52")));
}

TEST_F(EntryTable, NextOneDoesNotTakeOverHalfOfAPeer) {
    change_entry(endpoint->programs().pool_entries(0), 7, [](dstm_entry& entry) {
        entry.peer[1] = 4711;
        entry.state = (entry.state & ~DSTM_ENTRY_CARRIED) | DSTM_ENTRY_WRITING;
    });
    auto mended = next();
    EXPECT_FALSE(mended.holds(v4("192.0.2.7")));
    EXPECT_EQ(mended.size(), 2u);
    ASSERT_TRUE(mended.put(spec("192.0.2.7", "2001:db8:1::7", 1), {}, never));
    EXPECT_TRUE(is_carried("192.0.2.7"));
}

TEST_F(EntryTable, PoolsThatOverlapAreRefused) {
    auto settings = Endpoint::default_settings();
    settings.pools.push_back(*Ipv4Prefix::parse("192.0.0.0/16"));
    const auto loaded = Programs::load(settings);
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().code, ErrorCode::invalid);
    EXPECT_NE(loaded.error().context.find("overlap"), std::string::npos);
}

TEST_F(EntryTable, PoolThatIsTooLargeAndTooManyAreRefused) {
    auto settings = Endpoint::default_settings();
    settings.pools = {*Ipv4Prefix::parse("10.0.0.0/8")};
    EXPECT_EQ(Programs::load(settings).error().code, ErrorCode::invalid);
    settings.pools.clear();
    for (std::uint32_t i = 0; i < 9; ++i)
        settings.pools.push_back({Ipv4Address(0x0a000000 + (i << 8)), 24});
    EXPECT_EQ(Programs::load(settings).error().code, ErrorCode::invalid);
}

TEST(VerifierReason, IsTheLastWordBeforeTheStatistics) {
    EXPECT_EQ(tep::bpf::verifier_reason("func#0 @0\n"
                                        "0: R1=ctx(off=0,imm=0) R10=fp0\n"
                                        "; return *p;\n"
                                        "4: (71) r0 = *(u8 *)(r1 +0)\n"
                                        "R1 invalid mem access 'scalar'\n"
                                        "processed 5 insns (limit 1000000)\n"),
              "R1 invalid mem access 'scalar' (at 4: (71) r0 = *(u8 *)(r1 +0))");
    EXPECT_EQ(tep::bpf::verifier_reason("no instruction"), "no instruction");
}

}  // namespace
}  // namespace dstm::test
