// The hook's own socket inside Kea: answers, and what is told about leases that end.
#include "kea_fixture.hpp"

#include <dhcp/pkt4.h>
#include <dhcpsrv/lease_mgr_factory.h>
#include <hooks/hooks_manager.h>

namespace dstm::kea {
namespace {

using isc::data::Element;
using isc::hooks::CalloutHandle;
using isc::hooks::HooksManager;

class KeaEvents : public KeaTest {
protected:
    KeaEvents() { EXPECT_TRUE(load()); }

    static void lease_callout(const std::string& point, const std::string& address) {
        callout(point,
                [&](CalloutHandle& handle) { handle.setArgument("lease4", lease(address)); });
    }
};

TEST_F(KeaEvents, ExpiryIsToldToAll) {
    const std::string address = address_of(allocate(1, R"("user-context":
        {"dstm": {"user": "alice", "generation": 5}})"));
    auto one = connect();
    auto two = connect();
    expire(address);
    reclaim(true);
    for (auto* peer : {one.get(), two.get()}) {
        const auto event = next(*peer);
        EXPECT_EQ(text(event, "event"), "lease-expired");
        EXPECT_EQ(text(event, "arguments/ip-address"), address);
        EXPECT_EQ(text(event, "arguments/client-id"), client_id(1));
        EXPECT_EQ(event->find("arguments/user-context/dstm/generation")->intValue(), 5);
        EXPECT_EQ(event->find("sequence")->intValue(), 2);
    }
    EXPECT_EQ(command("dstm4-status")->find("arguments/leases")->intValue(), 0);
    EXPECT_EQ(command("dstm4-status")->find("arguments/events-sent")->intValue(), 2);
}

TEST_F(KeaEvents, AnExpiryInsideAnAllocationComesBeforeItsAnswer) {
    auto peer = connect();
    const std::string address = address_of(allocate(1));
    expire(address);
    peer->send(
        "{\"id\": 9, \"command\": \"dstm4-lease-allocate\", \"arguments\": "
        "{\"client-id\": \"00:09\", \"requested-address\": \"" +
        address + "\"}}\n");
    expect_event(*peer, "lease-expired", address);
    const auto answer = next(*peer);
    ASSERT_TRUE(answer->contains("id")) << answer->str();
    EXPECT_EQ(answer->get("id")->intValue(), 9);
    EXPECT_EQ(text(answer, "arguments/ip-address"), address);
}

TEST_F(KeaEvents, AnEndedLeaseThatItsClientLeavesBehindIsTold) {
    auto peer = connect();
    const std::string address = address_of(allocate(1));
    expire(address);
    EXPECT_EQ(address_of(allocate(1, R"("requested-address": "192.0.2.25")")), "192.0.2.25");
    expect_event(*peer, "lease-expired", address);
    expect_silence(*peer);
    EXPECT_EQ(assigned(), 1);
}

TEST_F(KeaEvents, DhcpReleaseAndDeclineAreTold) {
    auto peer = connect();
    const std::string address = address_of(allocate(1));
    lease_callout("lease4_release", address);
    expect_event(*peer, "lease-released", address);
    lease_callout("lease4_decline", address);
    expect_event(*peer, "lease-declined", address);
    lease_callout("lease4_recover", address);
    expect_silence(*peer);
}

TEST_F(KeaEvents, LeasesOfOthersAreNotTold) {
    auto peer = connect();
    const std::string address = address_of(allocate(1));
    const auto plain = lease(address);
    plain->setContext(Element::fromJSON(R"({"other": 1})"));
    callout("lease4_release", [&](CalloutHandle& handle) { handle.setArgument("lease4", plain); });
    expect_silence(*peer);
}

TEST_F(KeaEvents, WhoeverReleasesIsNotToldTheOthersAre) {
    auto one = connect();
    auto two = connect();
    const auto granted =
        request(*one, "dstm4-lease-allocate", R"({"client-id": "00:01"})", pumping());
    const std::string address = text(granted, "arguments/ip-address");
    const auto answer =
        request(*one, "dstm4-lease-release",
                "{\"client-id\": \"00:01\", \"ip-address\": \"" + address + "\"}", pumping());
    EXPECT_EQ(result_of(answer), 0) << answer->str();
    expect_event(*two, "lease-released", address);
    expect_silence(*one);
    // By the control channel: all are told.
    const std::string other = address_of(allocate(2));
    command("dstm4-lease-release",
            "{\"client-id\": \"" + client_id(2) + "\", \"ip-address\": \"" + other + "\"}");
    expect_event(*one, "lease-released", other);
    expect_event(*two, "lease-released", other);
}

TEST_F(KeaEvents, AnOperatorsDeletionIsToldWithWhatTheLeaseWas) {
    const std::string address = address_of(allocate(1, R"("user-context":
        {"dstm": {"generation": 8}})"));
    auto peer = connect();
    operator_command("lease4-del", "{\"ip-address\": \"" + address + "\"}");
    expect_silence(*peer);  // still there: Kea said so, but the database knows better
    isc::dhcp::LeaseMgrFactory::instance().deleteLease(lease(address));
    operator_command("lease4-del", "{\"ip-address\": \"" + address + "\"}", 3);
    expect_silence(*peer);
    operator_command("lease4-del", "{\"ip-address\": \"" + address + "\"}");
    const auto event = next(*peer);
    EXPECT_EQ(text(event, "event"), "lease-deleted");
    EXPECT_EQ(event->find("arguments/user-context/dstm/generation")->intValue(), 8);
    operator_command("lease4-del", "{\"ip-address\": \"192.0.2.250\"}");
    expect_silence(*peer);
}

TEST_F(KeaEvents, ADeletionByIdentifierIsToldToo) {
    const std::string address = address_of(allocate(1));
    allocate(2);
    auto peer = connect();
    isc::dhcp::LeaseMgrFactory::instance().deleteLease(lease(address));
    operator_command("lease4-del", R"({"identifier-type": "client-id", "subnet-id": 1,
                                       "identifier": "00:00:00:01"})");
    expect_event(*peer, "lease-deleted", address);
    expect_silence(*peer);
}

TEST_F(KeaEvents, AnOperatorsUpdateIsDeletionOrResync) {
    const std::string address = address_of(allocate(1));
    auto peer = connect();
    auto changed = lease(address);
    changed->valid_lft_ = 100;
    isc::dhcp::LeaseMgrFactory::instance().updateLease4(changed);
    operator_command("lease4-update", "{\"ip-address\": \"" + address + "\"}");
    EXPECT_EQ(text(next(*peer), "event"), "resync");
    changed = lease(address);
    changed->setContext(nullptr);
    isc::dhcp::LeaseMgrFactory::instance().updateLease4(changed);
    operator_command("lease4-update", "{\"ip-address\": \"" + address + "\"}");
    expect_event(*peer, "lease-deleted", address);
    operator_command("lease4-wipe", "{\"subnet-id\": 1}");
    EXPECT_EQ(text(next(*peer), "event"), "resync");
    EXPECT_EQ(command("dstm4-status")->find("arguments/leases")->intValue(), 0);
}

TEST_F(KeaEvents, AReloadMeansResync) {
    auto peer = connect();
    configured();
    EXPECT_EQ(text(next(*peer), "event"), "resync");
}

TEST_F(KeaEvents, SequencesHaveNoGaps) {
    auto peer = connect();
    for (int i = 0; i < 20; ++i) configured(), pump();
    for (std::int64_t expected = 2; expected < 22; ++expected) {
        EXPECT_EQ(next(*peer)->get("sequence")->intValue(), expected);
    }
}

TEST_F(KeaEvents, PipelinedRequestsAreAnsweredInOrder) {
    auto peer = connect();
    std::string all;
    for (int i = 0; i < 500; ++i) {
        all +=
            "{\"id\": " + std::to_string(i) + ", \"command\": \"dstm4-lease-" +
            (i % 5 == 0 ? "batch\", \"arguments\": {\"commands\": [{\"command\": "
                          "\"dstm4-lease-allocate\", \"arguments\": {\"client-id\": \"00:01\"}},"
                          "{\"command\": \"dstm4-lease-release\", \"arguments\": {\"client-id\": "
                          "\"00:01\", \"ip-address\": \"192.0.2.1\"}}]}}\n"
                        : "list\"}\n");
    }
    peer->send(all);
    const auto lines = peer->lines(500, pumping());
    ASSERT_EQ(lines.size(), 500U);
    for (int i = 0; i < 500; ++i) {
        const auto answer = Element::fromJSON(lines[static_cast<std::size_t>(i)]);
        ASSERT_EQ(answer->get("id")->intValue(), i);
        ASSERT_EQ(answer->get("result")->intValue(), 0);
    }
}

TEST_F(KeaEvents, WhatIsNoRequestIsAnsweredAndForgotten) {
    auto peer = connect();
    for (const char* line : {"", "nonsense", "[]", "{}", R"({"id": 4, "command": 7})",
                             R"({"id": "x", "command": "config-get"})",
                             R"({"command": "dstm4-lease-allocate", "arguments": []})"}) {
        peer->send(std::string(line) + "\n");
        const auto answer = next(*peer);
        EXPECT_EQ(reason_of(answer), "bad-request") << line;
        EXPECT_TRUE(answer->contains("id"));
    }
    peer->send(std::string(100000, '[') + "\n");
    EXPECT_EQ(reason_of(next(*peer)), "bad-request");
    expect_silence(*peer);
}

TEST_F(KeaEvents, Utf8InAUserContextComesBackAsItWas) {
    auto peer = connect();
    peer->send(
        "{\"id\": 1, \"command\": \"dstm4-lease-allocate\", \"arguments\": {\"client-id\": "
        "\"00:01\", \"user-context\": {\"dstm\": {\"user\": \"zo\xc3\xab\"}}}}\n");
    const auto lines = peer->lines(1, pumping());
    ASSERT_EQ(lines.size(), 1U);
    EXPECT_NE(lines[0].find("\"user\": \"zo\xc3\xab\""), std::string::npos) << lines[0];
}

TEST_F(KeaEvents, APeerThatDiesInTheMiddleOfABatchHarmsNobody) {
    std::string batch =
        "{\"id\": 1, \"command\": \"dstm4-lease-batch\", \"arguments\": "
        "{\"commands\": [";
    for (int i = 0; i < 1000; ++i) {
        batch += std::string(i == 0 ? "" : ",") +
                 "{\"command\": \"dstm4-lease-allocate\", \"arguments\": {\"client-id\": \"" +
                 client_id(i % 10) + "\"}}";
    }
    batch += "]}}\n";
    for (int round = 0; round < 10; ++round) {
        auto peer = connect();
        peer->send(batch);
        pump();
    }
    ASSERT_TRUE(wait_until(
        [&] { return command("dstm4-status")->find("arguments/connections")->intValue() == 0; },
        pumping()));
    EXPECT_EQ(assigned(), 10);
    connect();
}

}  // namespace
}  // namespace dstm::kea
