// Reading what status-get says of high availability.
#include "kea-hook/serving.hpp"

#include <gtest/gtest.h>
#include <boost/make_shared.hpp>

namespace dstm::kea {
namespace {

HaView view(const std::string& json) { return read_ha_view(isc::data::Element::fromJSON(json)); }

TEST(KeaServing, WithoutHaNothingIsConfigured) {
    EXPECT_FALSE(view(R"({"pid": 1, "uptime": 2})").configured);
    EXPECT_FALSE(read_ha_view(nullptr).configured);
    EXPECT_FALSE(view(R"({"high-availability": 3})").configured);
}

TEST(KeaServing, TheLocalScopesAreOurs) {
    const auto active = view(R"({"high-availability": [{"ha-mode": "hot-standby", "ha-servers":
        {"local": {"role": "primary", "scopes": ["server1"], "state": "hot-standby"},
         "remote": {"last-scopes": ["server2"]}}}]})");
    EXPECT_TRUE(active.configured);
    EXPECT_EQ(active.scopes, std::vector<std::string>{"server1"});
    const auto standby = view(R"({"high-availability": [{"ha-servers":
        {"local": {"role": "standby", "scopes": [], "state": "hot-standby"}}}]})");
    EXPECT_TRUE(standby.configured);
    EXPECT_TRUE(standby.scopes.empty());
}

TEST(KeaServing, ADisabledServiceRefuses) {
    Serving serving;
    EXPECT_EQ(serving.refusal(), std::nullopt);
    const auto state = boost::make_shared<isc::dhcp::NetworkState>(isc::dhcp::NetworkState::DHCPv4);
    serving.set_network_state(state);
    EXPECT_EQ(serving.refusal(), std::nullopt);
    state->disableService(isc::dhcp::NetworkState::Origin::USER_COMMAND);
    EXPECT_NE(serving.refusal(), std::nullopt);
    state->enableService(isc::dhcp::NetworkState::Origin::USER_COMMAND);
    EXPECT_EQ(serving.refusal(), std::nullopt);
}

}  // namespace
}  // namespace dstm::kea
