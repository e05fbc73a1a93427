// See the header.
#include "kea_fixture.hpp"

#include <filesystem>

#include <poll.h>

#include <asiolink/io_service.h>
#include <cc/command_interpreter.h>
#include <config/command_mgr.h>
#include <dhcp/iface_mgr.h>
#include <dhcpsrv/alloc_engine.h>
#include <dhcpsrv/cfgmgr.h>
#include <dhcpsrv/lease_mgr_factory.h>
#include <hooks/hooks_manager.h>
#include <log/logger_support.h>
#include <stats/stats_mgr.h>

namespace dstm::kea {

using isc::asiolink::IOAddress;
using isc::config::CommandMgr;
using isc::data::Element;
using isc::dhcp::CfgMgr;
using isc::dhcp::Lease;
using isc::dhcp::LeaseMgrFactory;
using isc::dhcp::NetworkState;
using isc::dhcp::Pool4;
using isc::dhcp::Pool6;
using isc::dhcp::Subnet4;
using isc::dhcp::Subnet6;
using isc::hooks::CalloutHandle;
using isc::hooks::HooksManager;
using isc::stats::StatsMgr;

namespace {

// Hook points that the programs kea-dhcp4 and kea-dhcp6 themselves register.
const bool prepared = [] {
    isc::log::initLogger("dstm-test", isc::log::NONE);
    for (const char* name :
         {"leases4_committed", "lease4_release", "lease4_decline", "dhcp4_srv_configured",
          "leases6_committed", "lease6_release", "lease6_decline", "dhcp6_srv_configured"}) {
        HooksManager::registerHook(name);
    }
    return true;
}();

}  // namespace

KeaWorld::KeaWorld(int family)
    : family_(family),
      network_state_(boost::make_shared<NetworkState>(family == AF_INET ? NetworkState::DHCPv4
                                                                        : NetworkState::DHCPv6)) {
    EXPECT_TRUE(prepared);
    CfgMgr::instance().clear();
    CfgMgr::instance().setFamily(static_cast<std::uint16_t>(family));
    StatsMgr::instance().removeAll();
    LeaseMgrFactory::create(std::string("type=memfile persist=false universe=") +
                            (family == AF_INET ? "4" : "6"));
}

KeaWorld::~KeaWorld() {
    unload();
    LeaseMgrFactory::destroy();
    CfgMgr::instance().clear();
    std::filesystem::remove_all(folder_);
}

bool KeaWorld::load(const std::string& parameters) {
    isc::hooks::HookLibsCollection libraries;
    const auto json = parameters.empty() ? nullptr : Element::fromJSON(parameters);
    libraries.push_back({HOOK_LIBRARY, json});
    return HooksManager::loadLibraries(libraries);
}

bool KeaWorld::load() { return load("{\"socket-name\": \"" + socket_ + "\"}"); }

void KeaWorld::unload() {
    HooksManager::prepareUnloadLibraries();
    EXPECT_TRUE(HooksManager::unloadLibraries());
}

void KeaWorld::configured() {
    const auto handle = HooksManager::createCalloutHandle();
    handle->setArgument("network_state", network_state_);
    HooksManager::callCallouts(
        isc::hooks::ServerHooks::getServerHooks().getIndex(
            family_ == AF_INET ? "dhcp4_srv_configured" : "dhcp6_srv_configured"),
        *handle);
}

void KeaWorld::pump() {
    // No interface is open: this serves external sockets only, and waits a millisecond at most.
    if (family_ == AF_INET) {
        isc::dhcp::IfaceMgr::instance().receive4(0, 1000);
    } else {
        isc::dhcp::IfaceMgr::instance().receive6(0, 1000);
    }
}

void KeaWorld::callout(const std::string& point,
                       const std::function<void(CalloutHandle&)>& arguments) {
    const auto handle = HooksManager::createCalloutHandle();
    arguments(*handle);
    HooksManager::callCallouts(isc::hooks::ServerHooks::getServerHooks().getIndex(point), *handle);
}

void KeaWorld::operator_command(const std::string& name, const std::string& arguments, int result) {
    callout("command_processed", [&](CalloutHandle& handle) {
        const Json response = Element::fromJSON("{\"result\": " + std::to_string(result) + "}");
        handle.setArgument("name", name);
        handle.setArgument("arguments",
                           arguments.empty() ? Json() : Json(Element::fromJSON(arguments)));
        handle.setArgument("response", response);
    });
}

KeaWorld::Json KeaWorld::command(const std::string& name, const std::string& arguments) {
    const auto map = Element::createMap();
    map->set("command", Element::create(name));
    if (!arguments.empty()) map->set("arguments", Element::fromJSON(arguments));
    return CommandMgr::instance().processCommand(map);
}

std::string KeaWorld::address_of(const Json& answer) {
    const auto arguments = answer->get("arguments");
    const auto address = arguments ? arguments->get("ip-address") : nullptr;
    return address ? address->stringValue() : "none: " + answer->str();
}

std::string KeaWorld::reason_of(const Json& answer) {
    const auto arguments = answer->get("arguments");
    const auto reason = arguments ? arguments->get("reason") : nullptr;
    return reason ? reason->stringValue() : "none: " + answer->str();
}

std::int64_t KeaWorld::result_of(const Json& answer) { return answer->get("result")->intValue(); }

std::int64_t KeaWorld::statistic(const std::string& name) {
    const auto observation = StatsMgr::instance().getObservation(name);
    return observation ? observation->getInteger().first : 0;
}

KeaWorld::Json KeaWorld::request(Peer& peer, const std::string& name, const std::string& arguments,
                                 const Peer::Pump& pump) {
    peer.send("{\"id\": 1, \"command\": \"" + name + "\", \"arguments\": " + arguments + "}\n");
    const auto lines = peer.lines(1, pump);
    return lines.empty() ? Json(Element::createMap()) : Json(Element::fromJSON(lines[0]));
}

std::int64_t KeaWorld::statistic(std::uint32_t subnet_id, const std::string& name) {
    return statistic(StatsMgr::generateName("subnet", subnet_id, name));
}

std::unique_ptr<Peer> KeaWorld::connect() {
    auto peer = std::make_unique<Peer>(socket_);
    const auto hello = next(*peer);
    EXPECT_EQ(text(hello, "event"), "hello") << hello->str();
    EXPECT_EQ(hello->find("arguments/protocol")->intValue(), 1);
    EXPECT_EQ(hello->find("arguments/family")->intValue(), family_ == AF_INET ? 4 : 6);
    return peer;
}

KeaWorld::Json KeaWorld::next(Peer& peer) {
    const auto lines = peer.lines(1, pumping());
    return lines.empty() ? Json(Element::createMap()) : Json(Element::fromJSON(lines[0]));
}

std::string KeaWorld::text(const Json& map, const std::string& name) {
    const auto value = map->find(name);
    return value ? value->stringValue() : "";
}

void KeaWorld::expect_silence(Peer& peer) {
    const auto answer =
        request(peer, family_ == AF_INET ? "dstm4-status" : "dstm6-status", "{}", pumping());
    EXPECT_TRUE(answer->contains("id")) << answer->str();
    EXPECT_EQ(peer.rest(), "");
}

void KeaWorld::expect_event(Peer& peer, const std::string& name, const std::string& address) {
    const auto event = next(peer);
    EXPECT_EQ(text(event, "event"), name) << event->str();
    EXPECT_EQ(text(event, "arguments/ip-address"), address) << event->str();
    EXPECT_FALSE(event->contains("id"));
}

KeaTest::KeaTest() : KeaWorld(AF_INET) {
    subnet_ = add_subnet("192.0.2.0", 24, "192.0.2.10", "192.0.2.25", 1);
}

isc::dhcp::Subnet4Ptr KeaTest::add_subnet(const std::string& prefix, std::uint8_t length,
                                          const std::string& first, const std::string& last,
                                          std::uint32_t id) {
    const isc::util::Triplet<std::uint32_t> unset;
    const isc::util::Triplet<std::uint32_t> valid(60, 3600, 7200);
    auto subnet = Subnet4::create(IOAddress(prefix), length, unset, unset, valid, id);
    subnet->addPool(boost::make_shared<Pool4>(IOAddress(first), IOAddress(last)));
    CfgMgr::instance().getStagingCfg()->getCfgSubnets4()->add(subnet);
    CfgMgr::instance().getCurrentCfg()->getCfgSubnets4()->add(subnet);
    return subnet;
}

std::string KeaTest::client_id(int client) {
    char text[16];
    std::snprintf(text, sizeof(text), "00:%02x:%02x:%02x", client >> 16 & 255, client >> 8 & 255,
                  client & 255);
    return text;
}

KeaTest::Json KeaTest::allocate(int client, const std::string& more) {
    return command("dstm4-lease-allocate", "{\"client-id\": \"" + client_id(client) + "\"" +
                                               (more.empty() ? "" : ", ") + more + "}");
}

std::int64_t KeaTest::assigned(std::uint32_t subnet_id) {
    return statistic(subnet_id, "assigned-addresses");
}

isc::dhcp::Lease4Ptr KeaTest::lease(const std::string& address) {
    return LeaseMgrFactory::instance().getLease4(IOAddress(address));
}

void KeaTest::expire(const std::string& address) {
    const auto found = lease(address);
    ASSERT_TRUE(found);
    found->cltt_ -= found->valid_lft_ + 10;
    LeaseMgrFactory::instance().updateLease4(found);
}

void KeaTest::reclaim(bool remove) {
    isc::dhcp::AllocEngine engine(isc::dhcp::AllocEngine::ALLOC_ITERATIVE, 10, false);
    engine.reclaimExpiredLeases4(0, 0, remove);
}

KeaTest6::KeaTest6() : KeaWorld(AF_INET6) { subnet_ = add_subnet("2001:db8:100::", 1); }

isc::dhcp::Subnet6Ptr KeaTest6::add_subnet(const std::string& prefix, std::uint32_t id) {
    const isc::util::Triplet<std::uint32_t> unset;
    const isc::util::Triplet<std::uint32_t> preferred(30, 1800, 3600);
    const isc::util::Triplet<std::uint32_t> valid(60, 3600, 7200);
    auto subnet = Subnet6::create(IOAddress(prefix), 64, unset, unset, preferred, valid, id);
    subnet->addPool(boost::make_shared<Pool6>(Lease::TYPE_NA, IOAddress(prefix + "1"),
                                              IOAddress(prefix + "10")));
    CfgMgr::instance().getStagingCfg()->getCfgSubnets6()->add(subnet);
    CfgMgr::instance().getCurrentCfg()->getCfgSubnets6()->add(subnet);
    return subnet;
}

void KeaTest6::add_prefixes(const isc::dhcp::Subnet6Ptr& subnet, const std::string& prefix,
                            std::uint8_t length, std::uint8_t delegated) {
    subnet->addPool(
        boost::make_shared<Pool6>(Lease::TYPE_PD, IOAddress(prefix), length, delegated));
}

std::string KeaTest6::client_id(int client) {
    char text[32];
    std::snprintf(text, sizeof(text), "00:04:%02x:%02x:%02x", client >> 16 & 255, client >> 8 & 255,
                  client & 255);
    return text;
}

KeaWorld::Json KeaTest6::allocate(int client, const std::string& more) {
    return command("dstm6-lease-allocate", "{\"client-id\": \"" + client_id(client) + "\"" +
                                               (more.empty() ? "" : ", ") + more + "}");
}

KeaWorld::Json KeaTest6::renew(const std::string& address, int client, const std::string& more) {
    return command("dstm6-lease-renew", "{\"ip-address\": \"" + address + "\", \"client-id\": \"" +
                                            client_id(client) + "\"" + (more.empty() ? "" : ", ") +
                                            more + "}");
}

KeaWorld::Json KeaTest6::release(const std::string& address, int client, const std::string& more) {
    return command("dstm6-lease-release", "{\"ip-address\": \"" + address +
                                              "\", \"client-id\": \"" + client_id(client) + "\"" +
                                              (more.empty() ? "" : ", ") + more + "}");
}

std::string KeaTest6::prefix_of(const Json& answer) {
    const auto found = answer->find("arguments/prefix");
    return found ? found->stringValue() : "none";
}

isc::dhcp::Lease6Ptr KeaTest6::lease(const std::string& address) {
    return LeaseMgrFactory::instance().getLease6(Lease::TYPE_NA, IOAddress(address));
}

isc::dhcp::Lease6Ptr KeaTest6::prefix(const std::string& address) {
    return LeaseMgrFactory::instance().getLease6(Lease::TYPE_PD, IOAddress(address));
}

std::int64_t KeaTest6::addresses(std::uint32_t subnet_id) {
    return statistic(subnet_id, "assigned-nas");
}

std::int64_t KeaTest6::prefixes(std::uint32_t subnet_id) {
    return statistic(subnet_id, "assigned-pds");
}

void KeaTest6::expire(const isc::dhcp::Lease6Ptr& row) {
    ASSERT_TRUE(row);
    row->cltt_ -= row->valid_lft_ + 10;
    LeaseMgrFactory::instance().updateLease6(row);
}

void KeaTest6::reclaim(bool remove) {
    isc::dhcp::AllocEngine engine(isc::dhcp::AllocEngine::ALLOC_ITERATIVE, 10, true);
    engine.reclaimExpiredLeases6(0, 0, remove);
}

}  // namespace dstm::kea
