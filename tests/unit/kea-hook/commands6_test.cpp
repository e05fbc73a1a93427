// In kea-dhcp6: an address and a delegated prefix are one lease.
#include "kea_fixture.hpp"

#include <chrono>
#include <set>

#include <boost/make_shared.hpp>

#include <dhcpsrv/cfg_hosts.h>
#include <dhcpsrv/cfgmgr.h>
#include <dhcpsrv/host.h>
#include <dhcpsrv/host_mgr.h>
#include <dhcpsrv/lease_mgr_factory.h>
#include <dhcpsrv/shared_network.h>

namespace dstm::kea {
namespace {

using isc::asiolink::IOAddress;
using isc::dhcp::CfgMgr;
using isc::dhcp::Host;
using isc::dhcp::IPv6Resrv;
using isc::dhcp::Lease6CollectionPtr;
using isc::hooks::CalloutHandle;
using isc::hooks::HooksManager;

class KeaCommands6 : public KeaTest6 {
protected:
    KeaCommands6() {
        EXPECT_TRUE(load());
        add_prefixes(subnet_, "2001:db8:200::", 54, 56);  // four
        add_prefixes(subnet_, "2001:db8:300::", 47, 48);  // two
    }
    static std::string generation(long long value) {
        return "\"user-context\": {\"dstm\": {\"generation\": " + std::to_string(value) + "}}";
    }
    // Of all the database, as "address" and "prefix/length" in their order.
    static std::set<std::string> rows() {
        std::set<std::string> texts;
        for (const auto& row : isc::dhcp::LeaseMgrFactory::instance().getLeases6()) {
            const bool is_prefix = row->type_ == isc::dhcp::Lease::TYPE_PD;
            texts.insert(row->addr_.toText() +
                         (is_prefix ? "/" + std::to_string(row->prefixlen_) : ""));
        }
        return texts;
    }
    static void reserve(int client, const IPv6Resrv& reservation) {
        const auto host =
            boost::make_shared<Host>(client_id(client).c_str(), "duid", isc::dhcp::SUBNET_ID_UNUSED,
                                     isc::dhcp::SubnetID(1), IOAddress::IPV4_ZERO_ADDRESS());
        host->addReservation(reservation);
        CfgMgr::instance().getStagingCfg()->getCfgHosts()->add(host);
        CfgMgr::instance().getCurrentCfg()->getCfgHosts()->add(host);
    }
};

TEST_F(KeaCommands6, ALeaseHoldsWhatWasAskedFor) {
    const auto answer = allocate(1, R"("valid-lifetime": 600, "prefix-length": 56, "user-context":
        {"dstm": {"user": "alice", "generation": 1793714401123456}, "other": 1})");
    ASSERT_EQ(result_of(answer), 0) << answer->str();
    const auto arguments = answer->get("arguments");
    EXPECT_EQ(address_of(answer), "2001:db8:100::1");
    EXPECT_EQ(prefix_of(answer), "2001:db8:200::/56");
    EXPECT_EQ(arguments->get("client-id")->stringValue(), client_id(1));
    EXPECT_EQ(arguments->get("valid-lifetime")->intValue(), 600);
    EXPECT_EQ(arguments->get("expires-at")->intValue(), arguments->get("cltt")->intValue() + 600);
    EXPECT_FALSE(arguments->contains("reused"));
    EXPECT_FALSE(arguments->contains("hw-address"));
    const auto address = lease("2001:db8:100::1");
    const auto delegated = prefix("2001:db8:200::");
    ASSERT_TRUE(address && delegated);
    for (const auto& row : {address, delegated}) {
        EXPECT_EQ(row->getContext()->find("dstm/generation")->intValue(), 1793714401123456);
        EXPECT_EQ(row->valid_lft_, 600U);
        EXPECT_EQ(row->preferred_lft_, 600U) << "not longer than it is valid";
    }
    EXPECT_EQ(address->cltt_, delegated->cltt_);
    EXPECT_EQ(addresses(), 1);
    EXPECT_EQ(prefixes(), 1);
}

TEST_F(KeaCommands6, TheSameClientGetsTheSameAddressAndPrefixRenewed) {
    const auto first = allocate(1, R"("prefix-length": 56, "user-context":
        {"dstm": {"outer-address": "192.0.2.1"}, "kept": true})");
    allocate(2, "\"prefix-length\": 56");
    const auto again = allocate(1, R"("prefix-length": 56, "user-context":
        {"dstm": {"outer-address": "192.0.2.2"}})");
    EXPECT_EQ(address_of(again), address_of(first));
    EXPECT_EQ(prefix_of(again), prefix_of(first));
    EXPECT_TRUE(again->find("arguments/reused")->boolValue());
    for (const auto& row : {lease("2001:db8:100::1"), prefix("2001:db8:200::")}) {
        EXPECT_EQ(row->getContext()->str(),
                  R"({ "dstm": { "outer-address": "192.0.2.2" }, "kept": true })");
    }
    EXPECT_EQ(addresses(), 2);
    EXPECT_EQ(prefixes(), 2);
}

TEST_F(KeaCommands6, AnAddressAloneNeedsNoPrefixPool) {
    const auto answer = allocate(1);
    EXPECT_EQ(address_of(answer), "2001:db8:100::1");
    EXPECT_EQ(prefix_of(answer), "none");
    EXPECT_EQ(prefixes(), 0);
}

TEST_F(KeaCommands6, APrefixIsFromAPoolOfItsLengthOrThereIsNone) {
    EXPECT_EQ(prefix_of(allocate(1, "\"prefix-length\": 48")), "2001:db8:300::/48");
    EXPECT_EQ(prefix_of(allocate(2, "\"prefix-length\": 48")), "2001:db8:301::/48");
    const auto before = rows();
    for (const char* length : {"48", "60", "64"}) {
        const auto refused = allocate(3, std::string("\"prefix-length\": ") + length);
        EXPECT_EQ(result_of(refused), 1) << length;
        EXPECT_EQ(reason_of(refused), "prefix-unavailable") << length;
    }
    EXPECT_EQ(rows(), before);
    EXPECT_EQ(addresses(), 2);
    EXPECT_EQ(prefixes(), 2);
    EXPECT_EQ(prefix_of(allocate(3, "\"prefix-length\": 56")), "2001:db8:200::/56");
    for (const char* length : {"47", "65", "0", "\"56\""}) {
        EXPECT_EQ(reason_of(allocate(3, std::string("\"prefix-length\": ") + length)),
                  "bad-request");
    }
}

TEST_F(KeaCommands6, ARefusedLengthLeavesTheLeaseAsItWas) {
    allocate(1, "\"prefix-length\": 56, " + generation(5));
    allocate(2, "\"prefix-length\": 48");
    allocate(3, "\"prefix-length\": 48");
    const auto before = rows();
    EXPECT_EQ(reason_of(allocate(1, "\"prefix-length\": 48, " + generation(6))),
              "prefix-unavailable");
    EXPECT_EQ(rows(), before);
    EXPECT_EQ(lease("2001:db8:100::1")->getContext()->find("dstm/generation")->intValue(), 5);
    EXPECT_EQ(result_of(renew("2001:db8:100::1", 1)), 0);
}

TEST_F(KeaCommands6, APrefixIsGivenBackWithAnAddressThatCannotBeHad) {
    for (int client = 0; client < 16; ++client) ASSERT_EQ(result_of(allocate(client)), 0);
    const auto refused = allocate(100, "\"prefix-length\": 56");
    EXPECT_EQ(reason_of(refused), "pool-exhausted");
    EXPECT_EQ(addresses(), 16);
    EXPECT_EQ(prefixes(), 0);
    EXPECT_EQ(rows().size(), 16U);
    ASSERT_EQ(result_of(release("2001:db8:100::8", 7)), 0);
    const auto given = allocate(100, "\"prefix-length\": 56");
    EXPECT_EQ(address_of(given), "2001:db8:100::8");
    EXPECT_TRUE(prefix_of(given).ends_with("/56"));
}

TEST_F(KeaCommands6, AnotherLengthReplacesThePrefixAndNoLengthGivesItBack) {
    allocate(1, "\"prefix-length\": 56");
    const auto wider = allocate(1, "\"prefix-length\": 48");
    EXPECT_EQ(address_of(wider), "2001:db8:100::1");
    EXPECT_EQ(prefix_of(wider), "2001:db8:300::/48");
    EXPECT_TRUE(wider->find("arguments/reused")->boolValue());
    EXPECT_EQ(rows(), (std::set<std::string>{"2001:db8:100::1", "2001:db8:300::/48"}));
    EXPECT_EQ(prefix_of(renew("2001:db8:100::1", 1)), "2001:db8:300::/48");
    EXPECT_EQ(prefix_of(allocate(1)), "none");
    EXPECT_EQ(rows(), (std::set<std::string>{"2001:db8:100::1"}));
    EXPECT_EQ(prefixes(), 0);
    EXPECT_EQ(prefix_of(renew("2001:db8:100::1", 1)), "none");
}

TEST_F(KeaCommands6, APrefixThatWasGivenUpIsHadAgainByNameWhileItIsFree) {
    allocate(1, "\"prefix-length\": 48");
    allocate(2, "\"prefix-length\": 48");
    const std::string wish = R"("prefix-length": 48, "prefix": "2001:db8:301::/48")";
    allocate(2, "\"prefix-length\": 56");
    EXPECT_EQ(prefix_of(allocate(2, wish)), "2001:db8:301::/48");
    allocate(2);
    EXPECT_EQ(prefix_of(allocate(2, wish)), "2001:db8:301::/48");
    EXPECT_EQ(address_of(allocate(2, wish)), "2001:db8:100::2");
    EXPECT_EQ(rows(), (std::set<std::string>{"2001:db8:100::1", "2001:db8:100::2",
                                             "2001:db8:300::/48", "2001:db8:301::/48"}));
    EXPECT_EQ(prefix_of(allocate(1, wish)), "2001:db8:300::/48") << "what it has goes first";
    ASSERT_EQ(result_of(allocate(1, "\"prefix-length\": 56")), 0);
    EXPECT_EQ(prefix_of(allocate(1, wish)), "2001:db8:300::/48") << "a wish, no more";
    EXPECT_EQ(prefixes(), 2);
}

TEST_F(KeaCommands6, AWishedPrefixIsFromAPoolOfItsLength) {
    EXPECT_EQ(prefix_of(allocate(1, R"("prefix-length": 56, "prefix": "2001:db8:300::/56")")),
              "2001:db8:200::/56");
    EXPECT_EQ(prefix_of(allocate(2, R"("prefix-length": 48, "prefix": "2001:db8:999::/48")")),
              "2001:db8:300::/48");
    EXPECT_EQ(prefixes(), 2);
    for (const char* wish : {R"("prefix": "2001:db8:200::/56")",
                             R"("prefix-length": 48, "prefix": "2001:db8:200::/56")",
                             R"("prefix-length": 56, "prefix": "2001:db8:200::1/56")",
                             R"("prefix-length": 56, "prefix": "192.0.2.0/56")",
                             R"("prefix-length": 56, "prefix": 56)"}) {
        EXPECT_EQ(reason_of(allocate(3, wish)), "bad-request") << wish;
    }
}

TEST_F(KeaCommands6, RenewalKeepsBothAndChecksOwnerAndGeneration) {
    const std::string address = address_of(allocate(1, "\"prefix-length\": 56, " + generation(10)));
    EXPECT_EQ(reason_of(renew("2001:db8:100::9", 1)), "not-found");
    EXPECT_EQ(reason_of(renew("2001:db8:200::", 1)), "not-found") << "the address names it";
    EXPECT_EQ(reason_of(renew(address, 2)), "not-owner");
    EXPECT_EQ(reason_of(renew(address, 1, generation(9))), "stale");
    const auto renewed = renew(address, 1, generation(11) + ", \"valid-lifetime\": 100");
    ASSERT_EQ(result_of(renewed), 0) << renewed->str();
    EXPECT_EQ(prefix_of(renewed), "2001:db8:200::/56");
    for (const auto& row : {lease(address), prefix("2001:db8:200::")}) {
        EXPECT_EQ(row->valid_lft_, 100U);
        EXPECT_EQ(row->getContext()->find("dstm/generation")->intValue(), 11);
    }
    EXPECT_EQ(addresses(), 1);
    EXPECT_EQ(prefixes(), 1);
}

TEST_F(KeaCommands6, RenewalWritesTheContextAlsoWhenKeaWouldReuseTheLease) {
    subnet_->setCacheThreshold(0.9);
    allocate(1, "\"prefix-length\": 56, " + generation(10));
    ASSERT_EQ(result_of(renew("2001:db8:100::1", 1, generation(11))), 0);
    EXPECT_EQ(lease("2001:db8:100::1")->getContext()->find("dstm/generation")->intValue(), 11);
    EXPECT_EQ(prefix("2001:db8:200::")->getContext()->find("dstm/generation")->intValue(), 11);
}

TEST_F(KeaCommands6, ReleaseEndsBoth) {
    const std::string address = address_of(allocate(1, "\"prefix-length\": 56, " + generation(10)));
    EXPECT_EQ(reason_of(release(address, 2)), "not-owner");
    EXPECT_EQ(reason_of(release(address, 1, "\"up-to-generation\": 9")), "stale");
    EXPECT_EQ(result_of(release(address, 1, "\"up-to-generation\": 10")), 0);
    EXPECT_TRUE(rows().empty());
    EXPECT_EQ(addresses(), 0);
    EXPECT_EQ(prefixes(), 0);
    EXPECT_EQ(reason_of(release(address, 1)), "not-found");
}

TEST_F(KeaCommands6, LifetimesAreBoundedByTheSubnet) {
    const auto lifetime = [&](int client, const std::string& wish) {
        return allocate(client, wish)->find("arguments/valid-lifetime")->intValue();
    };
    EXPECT_EQ(lifetime(1, ""), 3600);
    EXPECT_EQ(lifetime(3, "\"valid-lifetime\": 1"), 60);
    EXPECT_EQ(lifetime(4, "\"valid-lifetime\": 4294967295"), 7200);
    EXPECT_EQ(lifetime(5, "\"valid-lifetime\": 61"), 61);
    EXPECT_EQ(lifetime(5, "\"valid-lifetime\": 7199"), 7199) << "renewal too";
}

TEST_F(KeaCommands6, ARequestedAddressIsHonouredIfFree) {
    const std::string wish = R"("requested-address": "2001:db8:100::c")";
    EXPECT_EQ(address_of(allocate(1, wish)), "2001:db8:100::c");
    EXPECT_EQ(address_of(allocate(2, wish)), "2001:db8:100::1");
    EXPECT_EQ(reason_of(allocate(3, R"("requested-address": "192.0.2.1")")), "bad-request");
}

TEST_F(KeaCommands6, ListsLeasesWithTheirPrefixesInPages) {
    EXPECT_EQ(result_of(command("dstm6-lease-list")), 3);
    for (int client = 0; client < 7; ++client) {
        ASSERT_EQ(result_of(allocate(client, client < 4 ? "\"prefix-length\": 56" : "")), 0);
    }
    const auto all = command("dstm6-lease-list");
    ASSERT_EQ(all->find("arguments/count")->intValue(), 7);
    for (int i = 0; i < 7; ++i) {
        const auto one = all->find("arguments/leases")->get(i);
        EXPECT_EQ(text(one, "ip-address"), "2001:db8:100::" + std::to_string(i + 1));
        EXPECT_EQ(one->contains("prefix"), i < 4);
    }
    const auto page = command("dstm6-lease-list", R"({"from": "2001:db8:100::2", "limit": 3})");
    EXPECT_EQ(text(page->find("arguments/leases")->get(0), "ip-address"), "2001:db8:100::3");
    EXPECT_EQ(text(page, "arguments/next"), "2001:db8:100::5");
    EXPECT_EQ(command("dstm6-status")->find("arguments/leases")->intValue(), 7);
    EXPECT_EQ(command("dstm6-status")->find("arguments/family")->intValue(), 6);
}

TEST_F(KeaCommands6, ABatchAnswersEachInOrder) {
    const auto answer = command("dstm6-lease-batch", R"({"commands": [
        {"command": "dstm6-lease-allocate", "arguments": {"client-id": "00:04:01",
                                                          "prefix-length": 56}},
        {"command": "dstm4-lease-allocate", "arguments": {"client-id": "00:04:01"}},
        {"command": "dstm6-lease-release",
         "arguments": {"client-id": "00:04:01", "ip-address": "2001:db8:100::1"}}]})");
    const auto responses = answer->find("arguments/responses");
    ASSERT_EQ(responses->size(), 3U) << answer->str();
    EXPECT_EQ(prefix_of(responses->get(0)), "2001:db8:200::/56");
    EXPECT_EQ(reason_of(responses->get(1)), "bad-request") << "the other family's";
    EXPECT_EQ(result_of(responses->get(2)), 0);
    EXPECT_TRUE(rows().empty());
}

TEST_F(KeaCommands6, ReservationsByDuidDecideAddressAndPrefix) {
    isc::dhcp::HostMgr::create();
    reserve(5, IPv6Resrv(IPv6Resrv::TYPE_NA, IOAddress("2001:db8:100::5")));
    reserve(6, IPv6Resrv(IPv6Resrv::TYPE_PD, IOAddress("2001:db8:200:100::"), 56));
    for (int client = 10; client < 12; ++client) allocate(client, "\"prefix-length\": 56");
    EXPECT_FALSE(prefix("2001:db8:200:100::")) << "reserved for another";
    EXPECT_EQ(prefix_of(allocate(6, "\"prefix-length\": 56")), "2001:db8:200:100::/56");
    EXPECT_EQ(address_of(allocate(5)), "2001:db8:100::5");
    EXPECT_EQ(prefix_of(allocate(6, "\"prefix-length\": 48")), "2001:db8:300::/48");
    for (int client = 20; client < 32; ++client) allocate(client);
    EXPECT_EQ(reason_of(allocate(99)), "pool-exhausted");
    EXPECT_EQ(addresses(), 16);
}

TEST_F(KeaCommands6, AReservationForAnotherTakesTheAddressAway) {
    isc::dhcp::HostMgr::create();
    auto peer = connect();
    allocate(1, "\"prefix-length\": 56");
    reserve(9, IPv6Resrv(IPv6Resrv::TYPE_NA, IOAddress("2001:db8:100::1")));
    const auto again = allocate(1, "\"prefix-length\": 56");
    EXPECT_EQ(address_of(again), "2001:db8:100::2");
    EXPECT_EQ(prefix_of(again), "2001:db8:200::/56");
    expect_event(*peer, "lease-deleted", "2001:db8:100::1");
    expect_silence(*peer);
    EXPECT_EQ(rows(), (std::set<std::string>{"2001:db8:100::2", "2001:db8:200::/56"}));
    EXPECT_EQ(addresses(), 1);
    EXPECT_EQ(address_of(allocate(9)), "2001:db8:100::1");
}

TEST_F(KeaCommands6, ASubnetForAnotherClassIsNotOurs) {
    subnet_->allowClientClass("somebody-else");
    EXPECT_EQ(reason_of(allocate(1)), "pool-exhausted");
    EXPECT_EQ(reason_of(allocate(1, "\"prefix-length\": 56")), "prefix-unavailable");
    add_subnet("2001:db8:101::", 2)->allowClientClass("VENDOR_CLASS_dstm");
    EXPECT_EQ(address_of(allocate(1)), "2001:db8:101::1");
}

TEST_F(KeaCommands6, ASharedNetworkSpillsOver) {
    const auto second = add_subnet("2001:db8:101::", 2);
    auto network = isc::dhcp::SharedNetwork6::create("net");
    network->add(subnet_);
    network->add(second);
    CfgMgr::instance().getCurrentCfg()->getCfgSharedNetworks6()->add(network);
    for (int client = 0; client < 20; ++client) {
        ASSERT_EQ(result_of(allocate(client, "\"subnet-id\": 1")), 0) << client;
    }
    EXPECT_EQ(addresses(1), 16);
    EXPECT_EQ(addresses(2), 4);
    const auto again = allocate(18, "\"subnet-id\": 1, " + generation(4));
    EXPECT_TRUE(again->find("arguments/reused")->boolValue());
    EXPECT_EQ(lease(address_of(again))->getContext()->find("dstm/generation")->intValue(), 4);
}

TEST_F(KeaCommands6, AClientHasOneLeaseWhereverItAsks) {
    add_subnet("2001:db8:101::", 2);
    auto peer = connect();
    allocate(1, "\"subnet-id\": 1, \"prefix-length\": 56");
    EXPECT_EQ(address_of(allocate(1, "\"subnet-id\": 2")), "2001:db8:101::1");
    expect_event(*peer, "lease-deleted", "2001:db8:100::1");
    EXPECT_EQ(rows(), (std::set<std::string>{"2001:db8:101::1"}));
    EXPECT_EQ(addresses(1), 0);
    EXPECT_EQ(addresses(2), 1);
    EXPECT_EQ(prefixes(1), 0);
}

TEST_F(KeaCommands6, WhoComesBackAfterTheEndGetsTheSameAgain) {
    for (const bool removed : {false, true}) {
        const auto first = allocate(1, "\"prefix-length\": 56");
        expire(lease(address_of(first)));
        expire(prefix("2001:db8:200::"));
        if (removed) reclaim(false);
        EXPECT_EQ(result_of(command("dstm6-lease-list")), 3);
        EXPECT_EQ(reason_of(renew(address_of(first), 1)), "not-found");
        const auto again = allocate(1, "\"prefix-length\": 56, " + generation(3));
        EXPECT_EQ(address_of(again), address_of(first));
        EXPECT_EQ(prefix_of(again), prefix_of(first));
        EXPECT_FALSE(again->get("arguments")->contains("reused"));
        EXPECT_EQ(addresses(), 1);
        EXPECT_EQ(prefixes(), 1);
        EXPECT_EQ(lease(address_of(first))->getContext()->find("dstm/generation")->intValue(), 3);
    }
}

TEST_F(KeaCommands6, ADisabledServiceChangesNothing) {
    const std::string address = address_of(allocate(1));
    configured();
    network_state_->disableService(isc::dhcp::NetworkState::Origin::USER_COMMAND);
    EXPECT_EQ(reason_of(allocate(2)), "not-serving");
    EXPECT_EQ(reason_of(renew(address, 1)), "not-serving");
    EXPECT_EQ(reason_of(release(address, 1)), "not-serving");
    network_state_->enableService(isc::dhcp::NetworkState::Origin::USER_COMMAND);
    EXPECT_EQ(result_of(allocate(2)), 0);
}

TEST_F(KeaCommands6, ALargeExhaustedPrefixPoolAnswersQuickly) {
    const auto subnet = add_subnet("2001:db8:102::", 3);
    subnet->addPool(boost::make_shared<isc::dhcp::Pool6>(isc::dhcp::Lease::TYPE_NA,
                                                         IOAddress("2001:db8:102::1:0"),
                                                         IOAddress("2001:db8:102::1:ffff")));
    add_prefixes(subnet, "2001:db8:8000::", 50, 62);
    for (int client = 0; client < 4096; ++client) {
        ASSERT_EQ(result_of(allocate(client, "\"subnet-id\": 3, \"prefix-length\": 62")), 0);
    }
    EXPECT_EQ(prefixes(3), 4096);
    const auto before = std::chrono::steady_clock::now();
    for (int i = 0; i < 100; ++i) {
        ASSERT_EQ(reason_of(allocate(9000 + i, "\"subnet-id\": 3, \"prefix-length\": 62")),
                  "prefix-unavailable");
    }
    const auto each = (std::chrono::steady_clock::now() - before) / 100;
    EXPECT_LT(each, std::chrono::milliseconds(20));
}

// Kea HA learns of changes from this hook point alone.
class KeaCommitted6 : public KeaCommands6 {
protected:
    KeaCommitted6() {
        seen.clear();
        HooksManager::preCalloutsLibraryHandle().registerCallout("leases6_committed", note);
    }
    ~KeaCommitted6() override {
        HooksManager::preCalloutsLibraryHandle().deregisterAllCallouts("leases6_committed");
    }
    static int note(CalloutHandle& handle) {
        isc::dhcp::Pkt6Ptr query;
        Lease6CollectionPtr leases;
        Lease6CollectionPtr deleted;
        handle.getArgument("query6", query);
        handle.getArgument("leases6", leases);
        handle.getArgument("deleted_leases6", deleted);
        std::string line = query->getName();
        for (const auto& one : *leases) line += " +" + one->addr_.toText();
        for (const auto& one : *deleted) line += " -" + one->addr_.toText();
        seen.push_back(line);
        return 0;
    }
    inline static std::vector<std::string> seen;
};

TEST_F(KeaCommitted6, BothHalvesAreCommittedTogether) {
    allocate(1, "\"prefix-length\": 56");
    renew("2001:db8:100::1", 1);
    allocate(1);
    allocate(1, "\"prefix-length\": 60");
    release("2001:db8:100::1", 1);
    EXPECT_EQ(
        seen,
        (std::vector<std::string>{
            "REQUEST +2001:db8:100::1 +2001:db8:200::", "RENEW +2001:db8:100::1 +2001:db8:200::",
            "RENEW +2001:db8:100::1 -2001:db8:200::", "RELEASE -2001:db8:100::1"}));
}

}  // namespace
}  // namespace dstm::kea
