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
using isc::dhcp::Subnet4;
using isc::hooks::HooksManager;
using isc::stats::StatsMgr;

namespace {

// Hook points that the kea-dhcp4 program itself registers.
const bool prepared = [] {
    isc::log::initLogger("dstm-test", isc::log::NONE);
    for (const char* name :
         {"leases4_committed", "lease4_release", "lease4_decline", "dhcp4_srv_configured"}) {
        HooksManager::registerHook(name);
    }
    return true;
}();

}  // namespace

KeaTest::KeaTest() : network_state_(boost::make_shared<NetworkState>(NetworkState::DHCPv4)) {
    EXPECT_TRUE(prepared);
    CfgMgr::instance().clear();
    CfgMgr::instance().setFamily(AF_INET);
    StatsMgr::instance().removeAll();
    LeaseMgrFactory::create("type=memfile persist=false universe=4");
    subnet_ = add_subnet("192.0.2.0", 24, "192.0.2.10", "192.0.2.25", 1);
}

KeaTest::~KeaTest() {
    unload();
    LeaseMgrFactory::destroy();
    CfgMgr::instance().clear();
    std::filesystem::remove_all(folder_);
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

bool KeaTest::load(const std::string& parameters) {
    isc::hooks::HookLibsCollection libraries;
    const auto json = parameters.empty() ? nullptr : Element::fromJSON(parameters);
    libraries.push_back({HOOK_LIBRARY, json});
    return HooksManager::loadLibraries(libraries);
}

bool KeaTest::load() { return load("{\"socket-name\": \"" + socket_ + "\"}"); }

void KeaTest::unload() {
    HooksManager::prepareUnloadLibraries();
    EXPECT_TRUE(HooksManager::unloadLibraries());
}

void KeaTest::configured() {
    const auto handle = HooksManager::createCalloutHandle();
    handle->setArgument("network_state", network_state_);
    HooksManager::callCallouts(
        isc::hooks::ServerHooks::getServerHooks().getIndex("dhcp4_srv_configured"), *handle);
}

void KeaTest::pump() {
    // No interface is open: this serves external sockets only, and waits a millisecond at most.
    isc::dhcp::IfaceMgr::instance().receive4(0, 1000);
}

KeaTest::Json KeaTest::command(const std::string& name, const std::string& arguments) {
    const auto map = Element::createMap();
    map->set("command", Element::create(name));
    if (!arguments.empty()) map->set("arguments", Element::fromJSON(arguments));
    return CommandMgr::instance().processCommand(map);
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

std::string KeaTest::address_of(const Json& answer) {
    const auto arguments = answer->get("arguments");
    const auto address = arguments ? arguments->get("ip-address") : nullptr;
    return address ? address->stringValue() : "none: " + answer->str();
}

std::string KeaTest::reason_of(const Json& answer) {
    const auto arguments = answer->get("arguments");
    const auto reason = arguments ? arguments->get("reason") : nullptr;
    return reason ? reason->stringValue() : "none: " + answer->str();
}

std::int64_t KeaTest::result_of(const Json& answer) { return answer->get("result")->intValue(); }

std::int64_t KeaTest::statistic(const std::string& name) {
    const auto observation = StatsMgr::instance().getObservation(name);
    return observation ? observation->getInteger().first : 0;
}

std::int64_t KeaTest::assigned(std::uint32_t subnet_id) {
    return statistic(StatsMgr::generateName("subnet", subnet_id, "assigned-addresses"));
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

KeaTest::Json KeaTest::request(Peer& peer, const std::string& name, const std::string& arguments,
                               const Peer::Pump& pump) {
    peer.send("{\"id\": 1, \"command\": \"" + name + "\", \"arguments\": " + arguments + "}\n");
    const auto lines = peer.lines(1, pump);
    return lines.empty() ? Json(Element::createMap()) : Json(Element::fromJSON(lines[0]));
}

}  // namespace dstm::kea
