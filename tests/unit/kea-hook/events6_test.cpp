// In kea-dhcp6: whichever half of a lease ends, the other ends with it, and one event tells it.
#include "kea_fixture.hpp"

#include <dhcpsrv/lease_mgr_factory.h>
#include <hooks/callout_handle.h>

namespace dstm::kea {
namespace {

using isc::dhcp::LeaseMgrFactory;
using isc::hooks::CalloutHandle;

class KeaEvents6 : public KeaTest6 {
protected:
    KeaEvents6() {
        EXPECT_TRUE(load());
        add_prefixes(subnet_, "2001:db8:200::", 54, 56);
        granted_ = allocate(1, R"("prefix-length": 56, "user-context":
            {"dstm": {"user": "alice", "generation": 5}})");
        EXPECT_EQ(prefix_of(granted_), "2001:db8:200::/56");
        peer_ = connect();
    }
    void expect_end(const std::string& name) {
        const auto event = next(*peer_);
        EXPECT_EQ(text(event, "event"), name);
        EXPECT_EQ(text(event, "arguments/ip-address"), address_);
        EXPECT_EQ(text(event, "arguments/prefix"), "2001:db8:200::/56");
        EXPECT_EQ(event->find("arguments/user-context/dstm/generation")->intValue(), 5);
        expect_silence(*peer_);
    }
    void expect_nothing_left() {
        EXPECT_FALSE(lease(address_));
        EXPECT_FALSE(prefix("2001:db8:200::"));
        EXPECT_EQ(addresses(), 0);
        EXPECT_EQ(prefixes(), 0);
        EXPECT_EQ(command("dstm6-status")->find("arguments/leases")->intValue(), 0);
    }
    static void release_callout(const isc::dhcp::Lease6Ptr& row) {
        callout("lease6_release",
                [&](CalloutHandle& handle) { handle.setArgument("lease6", row); });
    }

    const std::string address_ = "2001:db8:100::1";
    Json granted_;
    std::unique_ptr<Peer> peer_;
};

TEST_F(KeaEvents6, TheExpiryOfBothIsOneEvent) {
    expire(lease(address_));
    expire(prefix("2001:db8:200::"));
    reclaim(true);
    expect_end("lease-expired");
    expect_nothing_left();
}

TEST_F(KeaEvents6, WithTheAddressThePrefixEnds) {
    expire(lease(address_));
    reclaim(true);
    expect_end("lease-expired");
    expect_nothing_left();
}

TEST_F(KeaEvents6, WithThePrefixTheAddressEnds) {
    expire(prefix("2001:db8:200::"));
    reclaim(true);
    expect_end("lease-expired");
    expect_nothing_left();
}

TEST_F(KeaEvents6, AnOperatorsDeletionOfThePrefixEndsBoth) {
    LeaseMgrFactory::instance().deleteLease(prefix("2001:db8:200::"));
    operator_command("lease6-del", R"({"ip-address": "2001:db8:200::", "type": "IA_PD"})");
    expect_end("lease-deleted");
    EXPECT_FALSE(lease(address_));
}

TEST_F(KeaEvents6, AnOperatorsDeletionOfTheAddressEndsBoth) {
    LeaseMgrFactory::instance().deleteLease(lease(address_));
    operator_command("lease6-del", "{\"ip-address\": \"" + address_ + "\"}");
    expect_end("lease-deleted");
    EXPECT_FALSE(prefix("2001:db8:200::"));
}

TEST_F(KeaEvents6, ADeletionByIdentifierIsToldToo) {
    LeaseMgrFactory::instance().deleteLease(prefix("2001:db8:200::"));
    operator_command("lease6-del", R"({"identifier-type": "duid", "identifier": "00:04:00:00:01",
                                       "subnet-id": 1, "iaid": 56, "type": "IA_PD"})");
    expect_end("lease-deleted");
    EXPECT_FALSE(lease(address_));
}

TEST_F(KeaEvents6, WhatAPartnerDeletesInBulkIsOneEvent) {
    LeaseMgrFactory::instance().deleteLease(prefix("2001:db8:200::"));
    LeaseMgrFactory::instance().deleteLease(lease(address_));
    operator_command("lease6-bulk-apply", R"({"deleted-leases": [
        {"ip-address": "2001:db8:100::1", "type": "IA_NA"},
        {"ip-address": "2001:db8:200::", "type": "IA_PD"}]})");
    expect_end("lease-deleted");
}

TEST_F(KeaEvents6, ADhcpReleaseOfEitherEndsBoth) {
    const auto row = prefix("2001:db8:200::");
    release_callout(row);
    LeaseMgrFactory::instance().deleteLease(row);
    expect_end("lease-released");
    EXPECT_FALSE(lease(address_));
}

TEST_F(KeaEvents6, APrefixThatItsClientGivesBackEndsNothing) {
    EXPECT_EQ(result_of(allocate(1)), 0);
    expect_silence(*peer_);
    EXPECT_EQ(result_of(renew(address_, 1)), 0);
    EXPECT_EQ(result_of(release(address_, 1)), 0);
    expect_event(*peer_, "lease-released", address_);
}

TEST_F(KeaEvents6, AnEndThatIsOvertakenByANewLeaseTouchesNothing) {
    expire(lease(address_));
    expire(prefix("2001:db8:200::"));
    const auto again = allocate(1, R"("prefix-length": 56, "user-context":
        {"dstm": {"user": "alice", "generation": 6}})");
    EXPECT_EQ(address_of(again), address_);
    expect_end("lease-expired");
    EXPECT_EQ(result_of(renew(address_, 1)), 0);
    EXPECT_EQ(prefix_of(renew(address_, 1)), "2001:db8:200::/56");
    EXPECT_EQ(addresses(), 1);
    EXPECT_EQ(prefixes(), 1);
}

TEST_F(KeaEvents6, WhoeverReleasesIsNotToldTheOthersAre) {
    auto other = connect();
    const auto answer =
        request(*other, "dstm6-lease-release",
                "{\"client-id\": \"" + client_id(1) + "\", \"ip-address\": \"" + address_ + "\"}",
                pumping());
    EXPECT_EQ(result_of(answer), 0) << answer->str();
    expect_end("lease-released");
    expect_silence(*other);
    expect_nothing_left();
}

TEST_F(KeaEvents6, AReloadKnowsAddressAndPrefixAgain) {
    peer_.reset();
    unload();
    ASSERT_TRUE(load());
    peer_ = connect();
    configured();
    EXPECT_EQ(text(next(*peer_), "event"), "resync");
    LeaseMgrFactory::instance().deleteLease(prefix("2001:db8:200::"));
    operator_command("lease6-del", R"({"ip-address": "2001:db8:200::", "type": "IA_PD"})");
    expect_end("lease-deleted");
    EXPECT_FALSE(lease(address_));
}

}  // namespace
}  // namespace dstm::kea
