// The table of tunnels in the maps, the loading of the programs, and what is said when it fails.
#include "bpf/test_run.hpp"

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

class EntryTable : public ProgramTest {};

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
TEST_F(EntryTable, TunnelThatIsHalfWrittenIsNotAdopted) {
    auto& programs = endpoint->programs();
    auto entries = tep::bpf::MappedArray<dstm_entry>::map(programs.pool_entries(0), 256);
    ASSERT_TRUE(entries);
    entries->elements()[7].state |= DSTM_ENTRY_WRITING;
    auto next = tep::bpf::EntryTable::open(programs);
    ASSERT_TRUE(next);
    EXPECT_EQ(next->size(), 2U);
    EXPECT_FALSE(next->holds(v4("192.0.2.7")));
    EXPECT_FALSE(next->leads_to(v6("2001:db8:1::7")));
    EXPECT_EQ(entries->elements()[7].state & (DSTM_ENTRY_WRITING | DSTM_ENTRY_CARRIED), 0U);
    ASSERT_TRUE(next->put(spec("192.0.2.7", "2001:db8:1::7", 1), {}, 0xffffffff));
    EXPECT_TRUE(next->holds(v4("192.0.2.7")));
    EXPECT_EQ(endpoint->up(make(Outer{v6("2001:db8:1::7"), v6(Endpoint::outer)},
                                make({v4("192.0.2.7"), v4("203.0.113.80")})))
                  .verdict,
              0);
}

TEST_F(EntryTable, NewTunnelStartsAtZero) {
    const auto packet = make({v4("203.0.113.80"), v4("192.0.2.7")});
    static_cast<void>(endpoint->down(packet));
    ASSERT_TRUE(endpoint->table().remove(v4("192.0.2.7"), 1));
    ASSERT_TRUE(endpoint->table().put(spec("192.0.2.7", "2001:db8:1::7", 9), {}, 0xffffffff));
    EXPECT_EQ(endpoint->entry("192.0.2.7").packets_down, 0U);
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
