// See the header.
#include "kea-hook/serving.hpp"

#include <cc/command_interpreter.h>
#include <config/command_mgr.h>
#include <hooks/hooks_manager.h>

namespace dstm::kea {

namespace {

using isc::config::CommandMgr;
using isc::data::ConstElementPtr;
using isc::data::Element;

// A change of scopes is seen this late; a look costs a command and a line in Kea's log.
constexpr std::chrono::seconds ha_trust_max{1};

bool ha_hook_is_loaded() {
    for (const auto& library : isc::hooks::HooksManager::getLibraryNames()) {
        if (library.find("libdhcp_ha.so") != std::string::npos) return true;
    }
    return false;
}

ConstElementPtr member(const ConstElementPtr& map, const std::string& name) {
    return map && map->getType() == Element::map ? map->get(name) : nullptr;
}

}  // namespace

HaView read_ha_view(const ConstElementPtr& status_arguments) {
    HaView view;
    const auto relationships = member(status_arguments, "high-availability");
    if (!relationships || relationships->getType() != Element::list) return view;
    for (const auto& relationship : relationships->listValue()) {
        view.configured = true;
        const auto scopes = member(member(member(relationship, "ha-servers"), "local"), "scopes");
        if (!scopes || scopes->getType() != Element::list) continue;
        for (const auto& scope : scopes->listValue()) {
            if (scope->getType() == Element::string) view.scopes.push_back(scope->stringValue());
        }
    }
    return view;
}

std::optional<std::string> Serving::refusal() {
    if (network_state_ && !network_state_->isServiceEnabled()) {
        return "the DHCP service of this server is disabled";
    }
    if (ha().configured && ha().scopes.empty()) {
        return "this server serves no scope of its high-availability pair";
    }
    return std::nullopt;
}

std::vector<std::string> Serving::classes() {
    std::vector<std::string> names;
    for (const auto& scope : ha().scopes) names.push_back("HA_" + scope);
    return names;
}

const HaView& Serving::ha() {
    const auto now = std::chrono::steady_clock::now();
    if (ha_read_at_ && now - *ha_read_at_ < ha_trust_max) return ha_;
    ha_read_at_ = now;
    ha_ = HaView{};
    if (ha_hook_is_loaded()) {
        const auto answer =
            CommandMgr::instance().processCommand(isc::config::createCommand("status-get"));
        ha_ = read_ha_view(member(answer, "arguments"));
        ha_.configured = true;  // loaded, whatever it says
    }
    return ha_;
}

}  // namespace dstm::kea
