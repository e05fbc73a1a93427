// The commands through Kea's control channel: every answer and every reason.
#include "kea_fixture.hpp"

#include <ctime>
#include <set>

#include <boost/make_shared.hpp>

#include <dhcpsrv/lease_mgr_factory.h>

namespace dstm::kea {
namespace {

class KeaCommands : public KeaTest {
protected:
    KeaCommands() { EXPECT_TRUE(load()); }

    Json renew(const std::string& address, int client, const std::string& more = "") {
        return command("dstm4-lease-renew", "{\"ip-address\": \"" + address +
                                                "\", \"client-id\": \"" + client_id(client) + "\"" +
                                                (more.empty() ? "" : ", ") + more + "}");
    }
    Json release(const std::string& address, int client, const std::string& more = "") {
        return command("dstm4-lease-release", "{\"ip-address\": \"" + address +
                                                  "\", \"client-id\": \"" + client_id(client) +
                                                  "\"" + (more.empty() ? "" : ", ") + more + "}");
    }
    static std::string generation(long long value) {
        return "\"user-context\": {\"dstm\": {\"generation\": " + std::to_string(value) + "}}";
    }
};

TEST_F(KeaCommands, ALeaseHoldsWhatWasAskedFor) {
    const auto answer = allocate(1, R"("valid-lifetime": 600, "hostname": "lab-7",
        "user-context": {"dstm": {"user": "alice", "generation": 1793714401123456}, "other": 1})");
    ASSERT_EQ(result_of(answer), 0) << answer->str();
    const auto arguments = answer->get("arguments");
    EXPECT_EQ(arguments->get("client-id")->stringValue(), client_id(1));
    EXPECT_EQ(arguments->get("subnet-id")->intValue(), 1);
    EXPECT_EQ(arguments->get("valid-lifetime")->intValue(), 600);
    EXPECT_EQ(arguments->get("expires-at")->intValue(), arguments->get("cltt")->intValue() + 600);
    EXPECT_EQ(arguments->get("hostname")->stringValue(), "lab-7");
    EXPECT_FALSE(arguments->contains("reused"));
    const auto stored = lease(address_of(answer));
    ASSERT_TRUE(stored);
    EXPECT_EQ(stored->getContext()->str(), arguments->get("user-context")->str());
    EXPECT_EQ(stored->getContext()->find("dstm/generation")->intValue(), 1793714401123456);
    EXPECT_EQ(assigned(), 1);
}

TEST_F(KeaCommands, TheSameClientGetsTheSameAddressRenewed) {
    const auto first = allocate(1, R"("hostname": "h", "user-context":
        {"dstm": {"outer-address": "2001:db8::1"}, "kept": true})");
    const auto again = allocate(1, R"("requested-address": "192.0.2.20", "user-context":
        {"dstm": {"outer-address": "2001:db8::2"}})");
    EXPECT_EQ(address_of(again), address_of(first));
    EXPECT_TRUE(again->find("arguments/reused")->boolValue());
    EXPECT_EQ(again->find("arguments/hostname")->stringValue(), "h");
    EXPECT_EQ(lease(address_of(first))->getContext()->str(),
              R"({ "dstm": { "outer-address": "2001:db8::2" }, "kept": true })");
    EXPECT_EQ(assigned(), 1);
}

TEST_F(KeaCommands, DifferentClientsGetDifferentAddressesUntilThePoolIsEmpty) {
    std::set<std::string> addresses;
    for (int client = 0; client < 16; ++client) addresses.insert(address_of(allocate(client)));
    EXPECT_EQ(addresses.size(), 16U);
    EXPECT_EQ(assigned(), 16);
    const auto failed = allocate(100);
    EXPECT_EQ(result_of(failed), 1);
    EXPECT_EQ(reason_of(failed), "pool-exhausted");
    EXPECT_EQ(assigned(), 16);
    EXPECT_EQ(statistic("v4-allocation-fail"), 1);
    ASSERT_EQ(result_of(release("192.0.2.17", 7)), 0);
    EXPECT_EQ(address_of(allocate(100)), "192.0.2.17");
    EXPECT_EQ(reason_of(allocate(101)), "pool-exhausted");
    EXPECT_EQ(result_of(allocate(5)), 0) << "who has a lease keeps it";
    EXPECT_EQ(assigned(), 16);
}

TEST_F(KeaCommands, ARequestedAddressIsHonouredIfFree) {
    EXPECT_EQ(address_of(allocate(1, R"("requested-address": "192.0.2.20")")), "192.0.2.20");
    EXPECT_NE(address_of(allocate(2, R"("requested-address": "192.0.2.20")")), "192.0.2.20");
    const auto outside = allocate(3, R"("requested-address": "192.0.2.200")");
    EXPECT_EQ(result_of(outside), 0) << "a wish, not a condition";
    EXPECT_NE(address_of(outside), "192.0.2.200");
    EXPECT_EQ(result_of(allocate(4, R"("requested-address": "10.1.2.3")")), 0);
    EXPECT_EQ(assigned(), 4);
}

TEST_F(KeaCommands, LifetimesAreBoundedByTheSubnet) {
    const auto lifetime = [&](int client, const std::string& wish) {
        return allocate(client, wish)->find("arguments/valid-lifetime")->intValue();
    };
    EXPECT_EQ(lifetime(1, ""), 3600);
    EXPECT_EQ(lifetime(2, "\"valid-lifetime\": 0"), 3600);
    EXPECT_EQ(lifetime(3, "\"valid-lifetime\": 1"), 60);
    EXPECT_EQ(lifetime(4, "\"valid-lifetime\": 4294967295"), 7200);
    EXPECT_EQ(lifetime(5, "\"valid-lifetime\": 61"), 61);
    EXPECT_EQ(lifetime(5, "\"valid-lifetime\": 7199"), 7199) << "renewal too";
}

TEST_F(KeaCommands, MalformedArgumentsAreNamedAndChangeNothing) {
    const auto refused = [&](const Json& answer, const std::string& name) {
        EXPECT_EQ(reason_of(answer), "bad-request");
        EXPECT_EQ(result_of(answer), 1);
        EXPECT_NE(answer->get("text")->stringValue().find("'" + name + "'"), std::string::npos)
            << answer->str();
    };
    refused(command("dstm4-lease-allocate"), "client-id");
    refused(allocate(1, "\"subnet-id\": 77"), "subnet-id");
    refused(allocate(1, "\"subnet-id\": \"1\""), "subnet-id");
    refused(allocate(1, "\"requested-address\": \"x\""), "requested-address");
    refused(allocate(1, "\"hostname\": \"a b\""), "hostname");
    refused(allocate(1, "\"user-context\": 5"), "user-context");
    refused(command("dstm4-lease-renew", R"({"client-id": "00:01"})"), "ip-address");
    refused(release("192.0.2.10", 1, "\"up-to-generation\": -1"), "up-to-generation");
    refused(command("dstm4-lease-list", R"({"limit": 0})"), "limit");
    refused(command("dstm4-lease-list", R"({"limit": 1001})"), "limit");
    refused(command("dstm4-lease-list", R"({"from": "::1"})"), "from");
    refused(command("dstm4-lease-batch", R"({"commands": {}})"), "commands");
    refused(command("dstm4-lease-batch"), "commands");
    refused(command("dstm4-status", R"({"x": 1})"), "x");
    EXPECT_EQ(assigned(), 0);
}

TEST_F(KeaCommands, RenewalChecksOwnerAndGeneration) {
    const std::string address = address_of(allocate(1, generation(10)));
    EXPECT_EQ(reason_of(renew("192.0.2.99", 1)), "not-found");
    EXPECT_EQ(result_of(renew("192.0.2.99", 1)), 3);
    EXPECT_EQ(reason_of(renew(address, 2)), "not-owner");
    EXPECT_EQ(reason_of(renew(address, 1, generation(9))), "stale");
    EXPECT_EQ(result_of(renew(address, 1, generation(10))), 0);
    EXPECT_EQ(result_of(renew(address, 1, generation(11))), 0);
    EXPECT_EQ(reason_of(renew(address, 1, generation(10))), "stale");
    const auto plain = renew(address, 1, "\"valid-lifetime\": 100");
    EXPECT_EQ(result_of(plain), 0) << plain->str();
    EXPECT_EQ(plain->find("arguments/valid-lifetime")->intValue(), 100);
    EXPECT_EQ(plain->find("arguments/user-context/dstm/generation")->intValue(), 11);
    EXPECT_EQ(assigned(), 1);
}

TEST_F(KeaCommands, RenewalWritesTheContextAlsoWhenKeaWouldReuseTheLease) {
    subnet_->setCacheThreshold(0.9);
    const std::string address = address_of(allocate(1, generation(10)));
    ASSERT_EQ(result_of(renew(address, 1, generation(11))), 0);
    EXPECT_EQ(lease(address)->getContext()->find("dstm/generation")->intValue(), 11);
}

TEST_F(KeaCommands, ReleaseChecksOwnerAndGenerationThenFreesAtOnce) {
    const std::string address = address_of(allocate(1, generation(10)));
    EXPECT_EQ(reason_of(release("192.0.2.99", 1)), "not-found");
    EXPECT_EQ(reason_of(release(address, 2)), "not-owner");
    EXPECT_EQ(reason_of(release(address, 1, "\"up-to-generation\": 9")), "stale");
    EXPECT_EQ(assigned(), 1);
    const auto answer = release(address, 1, "\"up-to-generation\": 10");
    EXPECT_EQ(result_of(answer), 0);
    EXPECT_EQ(answer->get("arguments")->size(), 0U);
    EXPECT_FALSE(lease(address));
    EXPECT_EQ(assigned(), 0);
    EXPECT_EQ(reason_of(release(address, 1)), "not-found");
    EXPECT_EQ(assigned(), 0);
    EXPECT_EQ(reason_of(renew(address, 1)), "not-found");
}

TEST_F(KeaCommands, ALeaseThatHasEndedIsNotFound) {
    const std::string address = address_of(allocate(1));
    expire(address);
    EXPECT_EQ(reason_of(renew(address, 1)), "not-found");
    EXPECT_EQ(reason_of(release(address, 1)), "not-found");
    EXPECT_EQ(result_of(command("dstm4-lease-list")), 3);
    const auto again = allocate(1);
    EXPECT_EQ(address_of(again), address) << "its last client has the first claim";
    EXPECT_FALSE(again->get("arguments")->contains("reused"));
    EXPECT_EQ(assigned(), 1);
}

TEST_F(KeaCommands, ListsInPages) {
    const auto page = [&](const std::string& from, int limit) {
        return command("dstm4-lease-list",
                       "{\"from\": \"" + from + "\", \"limit\": " + std::to_string(limit) + "}");
    };
    EXPECT_EQ(result_of(command("dstm4-lease-list")), 3);
    EXPECT_EQ(reason_of(command("dstm4-lease-list")), "not-found");
    for (int client = 0; client < 7; ++client) allocate(client);
    std::string from = "0.0.0.0";
    std::vector<std::string> seen;
    for (int pages = 0; pages < 10; ++pages) {
        const auto answer = page(from, 3);
        if (result_of(answer) == 3) break;
        const auto leases = answer->find("arguments/leases");
        EXPECT_EQ(answer->find("arguments/count")->intValue(),
                  static_cast<std::int64_t>(leases->size()));
        for (const auto& one : leases->listValue()) {
            seen.push_back(one->get("ip-address")->stringValue());
        }
        const auto next = answer->find("arguments/next");
        if (!next) break;
        from = next->stringValue();
    }
    ASSERT_EQ(seen.size(), 7U);
    for (std::size_t i = 0; i < 7; ++i) EXPECT_EQ(seen[i], "192.0.2.1" + std::to_string(i));
    EXPECT_EQ(page("192.0.2.12", 1000)->find("arguments/count")->intValue(), 4);
    EXPECT_FALSE(page("192.0.2.12", 1000)->find("arguments/next"));
    EXPECT_EQ(result_of(page("192.0.2.16", 1000)), 3);
    EXPECT_FALSE(page("0.0.0.0", 7)->find("arguments/next")) << "full, and the last";
    EXPECT_EQ(page("0.0.0.0", 6)->find("arguments/next")->stringValue(), "192.0.2.15");
}

TEST_F(KeaCommands, APageOverManyLeasesOfOthersIsBounded) {
    const auto subnet = add_subnet("10.1.0.0", 16, "10.1.0.0", "10.1.255.255", 2);
    auto& leases = isc::dhcp::LeaseMgrFactory::instance();
    for (std::uint32_t i = 0; i < 25000; ++i) {
        const std::vector<std::uint8_t> mac{
            2, 0, 0, 0, static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i)};
        leases.addLease(boost::make_shared<isc::dhcp::Lease4>(
            isc::asiolink::IOAddress(0x0a010000 + i),
            boost::make_shared<isc::dhcp::HWAddr>(mac, isc::dhcp::HTYPE_ETHER), nullptr, 3600,
            time(nullptr), 2));
    }
    const std::string ours = address_of(allocate(1));
    std::string from = "0.0.0.0";
    std::vector<std::string> seen;
    int pages = 0;
    for (; pages < 10; ++pages) {
        const auto answer = command("dstm4-lease-list", "{\"from\": \"" + from + "\"}");
        ASSERT_EQ(result_of(answer), 0) << answer->str();
        for (const auto& one : answer->find("arguments/leases")->listValue()) {
            seen.push_back(one->get("ip-address")->stringValue());
        }
        const auto next = answer->find("arguments/next");
        if (!next) break;
        from = next->stringValue();
    }
    EXPECT_EQ(seen, std::vector<std::string>{ours});
    EXPECT_EQ(pages, 2);
}

TEST_F(KeaCommands, ABatchAnswersEachInOrder) {
    const auto answer = command("dstm4-lease-batch", R"({"commands": [
        {"command": "dstm4-lease-allocate", "arguments": {"client-id": "00:01"}},
        {"command": "dstm4-lease-allocate", "arguments": {"client-id": "zz"}},
        {"command": "dstm4-lease-allocate", "arguments": {"client-id": "00:01"}},
        {"command": "dstm4-lease-release",
         "arguments": {"client-id": "00:01", "ip-address": "192.0.2.10"}},
        {"command": "dstm4-lease-list"}, {"command": "dstm4-lease-batch"}, 7, {}]})");
    ASSERT_EQ(result_of(answer), 0) << answer->str();
    const auto responses = answer->find("arguments/responses");
    ASSERT_EQ(responses->size(), 8U);
    EXPECT_EQ(responses->get(0)->find("arguments/ip-address")->stringValue(), "192.0.2.10");
    EXPECT_EQ(reason_of(responses->get(1)), "bad-request");
    EXPECT_TRUE(responses->get(2)->find("arguments/reused")->boolValue());
    EXPECT_EQ(result_of(responses->get(3)), 0);
    for (int i = 4; i < 8; ++i) EXPECT_EQ(reason_of(responses->get(i)), "bad-request");
    EXPECT_EQ(assigned(), 0);
    EXPECT_EQ(
        command("dstm4-lease-batch", R"({"commands": []})")->find("arguments/responses")->size(),
        0U);
    std::string many = "{\"commands\": [7";
    for (int i = 0; i < 1000; ++i) many += ",7";
    EXPECT_EQ(reason_of(command("dstm4-lease-batch", many + "]}")), "bad-request");
}

TEST_F(KeaCommands, AnswersFitIntoALine) {
    constexpr std::size_t line_max = 1 << 20;
    add_subnet("10.1.0.0", 16, "10.1.0.0", "10.1.255.255", 2);
    const std::string context = "\"subnet-id\": 2, \"user-context\": {\"dstm\": {\"user\": \"" +
                                std::string(3000, 'u') + "\"}}";
    for (int client = 0; client < 500; ++client) {
        ASSERT_EQ(result_of(allocate(client, context)), 0);
    }
    const auto list = command("dstm4-lease-list");
    EXPECT_LT(list->str().size(), line_max);
    EXPECT_TRUE(list->find("arguments/next"));
    std::string batch = "{\"commands\": [";
    for (int client = 0; client < 500; ++client) {
        batch += std::string(client == 0 ? "" : ",") +
                 "{\"command\": \"dstm4-lease-allocate\", \"arguments\": {\"client-id\": \"" +
                 client_id(client) + "\"}}";
    }
    const auto answer = command("dstm4-lease-batch", batch + "]}");
    EXPECT_LT(answer->str().size(), line_max);
    const auto responses = answer->find("arguments/responses");
    ASSERT_EQ(responses->size(), 500U);
    EXPECT_EQ(result_of(responses->get(0)), 0);
    EXPECT_EQ(reason_of(responses->get(499)), "bad-request");
}

TEST_F(KeaCommands, ADisabledServiceChangesNothing) {
    const std::string address = address_of(allocate(1));
    configured();
    network_state_->disableService(isc::dhcp::NetworkState::Origin::USER_COMMAND);
    EXPECT_EQ(reason_of(allocate(2)), "not-serving");
    EXPECT_EQ(reason_of(renew(address, 1)), "not-serving");
    EXPECT_EQ(reason_of(release(address, 1)), "not-serving");
    EXPECT_EQ(result_of(command("dstm4-lease-list")), 0);
    EXPECT_FALSE(command("dstm4-status")->find("arguments/serving")->boolValue());
    network_state_->enableService(isc::dhcp::NetworkState::Origin::USER_COMMAND);
    EXPECT_EQ(result_of(allocate(2)), 0);
}

TEST_F(KeaCommands, StatusCounts) {
    allocate(1);
    allocate(2);
    const auto status = command("dstm4-status")->get("arguments");
    EXPECT_EQ(status->get("leases")->intValue(), 2);
    EXPECT_EQ(status->get("connections")->intValue(), 0);
    EXPECT_EQ(status->get("events-sent")->intValue(), 0);
    EXPECT_EQ(status->get("requests")->intValue(), 3);
    EXPECT_EQ(status->get("family")->intValue(), 4);
    EXPECT_TRUE(status->get("serving")->boolValue());
}

}  // namespace
}  // namespace dstm::kea
