// What stays Kea's when the hook gives leases: classes, reservations, shared networks, statistics,
// leases4_committed; and the bound on work.
#include "kea_fixture.hpp"

#include <chrono>

#include <dhcp/dhcp4.h>
#include <dhcp/hwaddr.h>
#include <dhcp/pkt4.h>
#include <dhcpsrv/alloc_engine.h>
#include <dhcpsrv/cfg_hosts.h>
#include <dhcpsrv/cfgmgr.h>
#include <dhcpsrv/host.h>
#include <dhcpsrv/host_mgr.h>
#include <dhcpsrv/shared_network.h>
#include <hooks/hooks_manager.h>

namespace dstm::kea {
namespace {

using isc::asiolink::IOAddress;
using isc::dhcp::AllocEngine;
using isc::dhcp::CfgMgr;
using isc::dhcp::Host;
using isc::dhcp::HWAddr;
using isc::dhcp::Lease4CollectionPtr;
using isc::dhcp::Pkt4;
using isc::hooks::CalloutHandle;
using isc::hooks::HooksManager;

class KeaPolicy : public KeaTest {
protected:
    KeaPolicy() { EXPECT_TRUE(load()); }

    // An ordinary DHCP client that asks for that address.
    static isc::dhcp::Lease4Ptr dhcp_lease(const isc::dhcp::Subnet4Ptr& subnet,
                                           const std::string& address) {
        AllocEngine engine(AllocEngine::ALLOC_ITERATIVE, 100, false);
        const auto hwaddr = boost::make_shared<HWAddr>(
            HWAddr::fromText("aa:bb:cc:dd:ee:01", isc::dhcp::HTYPE_ETHER));
        AllocEngine::ClientContext4 context(subnet, nullptr, hwaddr, IOAddress(address), false,
                                            false, "", false);
        context.query_.reset(new Pkt4(isc::dhcp::DHCPREQUEST, 1));
        context.callout_handle_ = HooksManager::createCalloutHandle();
        return engine.allocateLease4(context);
    }

    void reserve(int client, const std::string& address, const std::string& hostname = "") {
        const auto host =
            boost::make_shared<Host>(client_id(client).c_str(), "client-id", isc::dhcp::SubnetID(1),
                                     isc::dhcp::SUBNET_ID_UNUSED, IOAddress(address));
        host->setHostname(hostname);
        CfgMgr::instance().getStagingCfg()->getCfgHosts()->add(host);
        CfgMgr::instance().getCurrentCfg()->getCfgHosts()->add(host);
    }
};

TEST_F(KeaPolicy, AReservationDecidesAddressAndHostname) {
    isc::dhcp::HostMgr::create();
    reserve(5, "192.0.2.24", "reserved-host");
    const auto others = allocate(1, R"("requested-address": "192.0.2.24")");
    EXPECT_NE(address_of(others), "192.0.2.24");
    const auto own = allocate(5);
    EXPECT_EQ(address_of(own), "192.0.2.24");
    EXPECT_EQ(own->find("arguments/hostname")->stringValue(), "reserved-host");
    for (int client = 10; client < 24; ++client) EXPECT_EQ(result_of(allocate(client)), 0);
    EXPECT_EQ(reason_of(allocate(100)), "pool-exhausted");
    EXPECT_EQ(assigned(), 16);
}

TEST_F(KeaPolicy, ASubnetForAnotherClassIsNotOurs) {
    subnet_->allowClientClass("somebody-else");
    EXPECT_EQ(reason_of(allocate(1)), "pool-exhausted");
    auto second = add_subnet("198.51.100.0", 24, "198.51.100.1", "198.51.100.9", 2);
    EXPECT_EQ(address_of(allocate(1)), "198.51.100.1");
    second->allowClientClass("VENDOR_CLASS_dstm");
    EXPECT_EQ(address_of(allocate(2)), "198.51.100.2");
}

TEST_F(KeaPolicy, TheNamedSubnetIsUsedOrNone) {
    add_subnet("198.51.100.0", 24, "198.51.100.1", "198.51.100.1", 2);
    EXPECT_EQ(address_of(allocate(1, "\"subnet-id\": 2")), "198.51.100.1");
    EXPECT_EQ(reason_of(allocate(2, "\"subnet-id\": 2")), "pool-exhausted");
    EXPECT_EQ(address_of(allocate(2)), "192.0.2.10");
    EXPECT_EQ(assigned(1), 1);
    EXPECT_EQ(assigned(2), 1);
    const auto again = allocate(1);
    EXPECT_EQ(address_of(again), "198.51.100.1") << "wherever the client has its lease";
    EXPECT_TRUE(again->find("arguments/reused")->boolValue());
}

TEST_F(KeaPolicy, ASharedNetworkSpillsOver) {
    auto second = add_subnet("198.51.100.0", 24, "198.51.100.1", "198.51.100.3", 2);
    auto network = isc::dhcp::SharedNetwork4::create("net");
    network->add(subnet_);
    network->add(second);
    CfgMgr::instance().getCurrentCfg()->getCfgSharedNetworks4()->add(network);
    for (int client = 0; client < 19; ++client) {
        ASSERT_EQ(result_of(allocate(client, "\"subnet-id\": 1")), 0) << client;
    }
    EXPECT_EQ(reason_of(allocate(99, "\"subnet-id\": 1")), "pool-exhausted");
    EXPECT_EQ(assigned(1), 16);
    EXPECT_EQ(assigned(2), 3);
}

TEST_F(KeaPolicy, ASubnetThatIgnoresClientIdsStillKnowsOurs) {
    subnet_->setMatchClientId(false);
    const auto first = allocate(1);
    const auto again = allocate(1);
    EXPECT_EQ(address_of(first), address_of(again));
    EXPECT_EQ(again->find("arguments/client-id")->stringValue(), client_id(1));
    EXPECT_TRUE(again->find("arguments/reused")->boolValue());
    EXPECT_EQ(assigned(), 1);
}

TEST_F(KeaPolicy, AnAddressOfOursThatSomebodyElseGetsLosesOurMark) {
    const std::string address =
        address_of(allocate(1, R"("user-context": {"dstm": {"user": "alice"}})"));
    expire(address);
    reclaim(false);
    EXPECT_EQ(assigned(), 0);
    const auto theirs = dhcp_lease(subnet_, address);
    ASSERT_TRUE(theirs);
    EXPECT_EQ(theirs->addr_.toText(), address);
    const auto context = lease(address)->getContext();
    EXPECT_TRUE(!context || !context->contains("dstm")) << context->str();
    EXPECT_EQ(result_of(command("dstm4-lease-list")), 3);
    EXPECT_EQ(assigned(), 1);
}

TEST_F(KeaPolicy, OursGetsNothingOfAnEarlierClientsContext) {
    const std::string address =
        address_of(allocate(1, R"("user-context": {"dstm": {"user": "alice"}, "note": "x"})"));
    expire(address);
    reclaim(false);
    const auto answer = allocate(2, "\"requested-address\": \"" + address + "\"");
    EXPECT_EQ(address_of(answer), address);
    EXPECT_EQ(answer->find("arguments/user-context")->str(), R"({ "dstm": {  } })");
    EXPECT_EQ(assigned(), 1);
}

TEST_F(KeaPolicy, StatisticsSurviveEveryWayBack) {
    const std::string address = address_of(allocate(1));
    expire(address);
    reclaim(false);
    EXPECT_EQ(assigned(), 0);
    EXPECT_EQ(address_of(allocate(1)), address);
    EXPECT_EQ(assigned(), 1);
    expire(address);
    reclaim(true);
    EXPECT_EQ(assigned(), 0);
    EXPECT_EQ(result_of(allocate(1)), 0);
    EXPECT_EQ(assigned(), 1);
    // The old lease is replaced by another address while it is reclaimed, but still there.
    const std::string old = address_of(allocate(1));
    expire(old);
    reclaim(false);
    EXPECT_EQ(address_of(allocate(1, R"("requested-address": "192.0.2.25")")), "192.0.2.25");
    EXPECT_EQ(assigned(), 1);
}

// Kea HA learns of changes from this hook point alone.
class KeaCommitted : public KeaPolicy {
protected:
    KeaCommitted() {
        seen.clear();
        HooksManager::preCalloutsLibraryHandle().registerCallout("leases4_committed", note);
    }
    ~KeaCommitted() override {
        HooksManager::preCalloutsLibraryHandle().deregisterAllCallouts("leases4_committed");
    }

    static int note(CalloutHandle& handle) {
        isc::dhcp::Pkt4Ptr query;
        Lease4CollectionPtr leases;
        Lease4CollectionPtr deleted;
        handle.getArgument("query4", query);
        handle.getArgument("leases4", leases);
        handle.getArgument("deleted_leases4", deleted);
        std::string line = query->getName();
        for (const auto& one : *leases) line += " +" + one->addr_.toText();
        for (const auto& one : *deleted) line += " -" + one->addr_.toText();
        seen.push_back(line);
        if (park) {
            handle.getParkingLotHandlePtr()->reference(query);
            handle.setStatus(CalloutHandle::NEXT_STEP_PARK);
            parked.push_back(query);
            lot = handle.getParkingLotHandlePtr();
        }
        return 0;
    }

    inline static std::vector<std::string> seen;
    inline static std::vector<isc::dhcp::Pkt4Ptr> parked;
    inline static isc::hooks::ParkingLotHandlePtr lot;
    inline static bool park = false;
};

TEST_F(KeaCommitted, EachChangeIsCommittedOnce) {
    allocate(1);
    allocate(1);
    command("dstm4-lease-renew",
            "{\"ip-address\": \"192.0.2.10\", \"client-id\": \"" + client_id(1) + "\"}");
    command("dstm4-lease-release",
            "{\"ip-address\": \"192.0.2.10\", \"client-id\": \"" + client_id(1) + "\"}");
    command("dstm4-lease-list");
    EXPECT_EQ(seen,
              (std::vector<std::string>{"DHCPREQUEST +192.0.2.10", "DHCPREQUEST +192.0.2.10",
                                        "DHCPREQUEST +192.0.2.10", "DHCPRELEASE -192.0.2.10"}));
}

TEST_F(KeaCommitted, APartnerThatParksTheQueryMayFinishLater) {
    park = true;
    EXPECT_EQ(result_of(allocate(1)), 0);
    EXPECT_EQ(result_of(allocate(2)), 0);
    park = false;
    ASSERT_EQ(parked.size(), 2U);
    for (const auto& query : parked) EXPECT_TRUE(lot->unpark(query));
    for (const auto& query : parked) EXPECT_FALSE(lot->unpark(query));
    parked.clear();
    lot.reset();
    EXPECT_EQ(result_of(allocate(3)), 0);
}

TEST_F(KeaPolicy, AnExhaustedLargePoolAnswersQuickly) {
    add_subnet("10.1.0.0", 16, "10.1.0.0", "10.1.255.255", 2);
    for (int client = 0; client < 65536; ++client) {
        ASSERT_EQ(result_of(allocate(client, "\"subnet-id\": 2")), 0) << client;
    }
    EXPECT_EQ(assigned(2), 65536);
    EXPECT_EQ(reason_of(allocate(70000, "\"subnet-id\": 2")), "pool-exhausted");  // looks once
    const auto before = std::chrono::steady_clock::now();
    for (int i = 0; i < 200; ++i) {
        ASSERT_EQ(reason_of(allocate(70000 + i, "\"subnet-id\": 2")), "pool-exhausted");
    }
    const auto each = (std::chrono::steady_clock::now() - before) / 200;
    EXPECT_LT(each, std::chrono::milliseconds(20));
    ::testing::Test::RecordProperty(
        "microseconds_per_failure",
        static_cast<int>(std::chrono::duration_cast<std::chrono::microseconds>(each).count()));
    EXPECT_EQ(result_of(command("dstm4-lease-release",
                                "{\"ip-address\": \"10.1.77.7\", \"client-id\": \"" +
                                    client_id(77 * 256 + 7) + "\"}")),
              0);
    EXPECT_EQ(address_of(allocate(80000, "\"subnet-id\": 2")), "10.1.77.7");
}

}  // namespace
}  // namespace dstm::kea
