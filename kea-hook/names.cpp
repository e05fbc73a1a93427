// See the header.
#include "kea-hook/names.hpp"

#include <boost/algorithm/string/case_conv.hpp>
#include <boost/algorithm/string/classification.hpp>
#include <boost/algorithm/string/split.hpp>

#include <dhcpsrv/cfgmgr.h>
#include <dhcpsrv/ncr_generator.h>

namespace dstm::kea {

using isc::dhcp::CfgMgr;
using isc::dhcp::D2ClientConfig;
using isc::dhcp::DdnsParams;
using isc::dhcp::DdnsParamsPtr;
using isc::dhcp::Lease4;
using isc::dhcp::Lease6;

namespace {

// hostname-char-set: label by label, for its expression may not know dots.
std::string scrubbed(const std::string& name, const DdnsParams& params) {
    const auto sanitizer = params.getHostnameSanitizer();
    if (!sanitizer) return name;
    std::vector<std::string> labels;
    boost::algorithm::split(labels, name, boost::algorithm::is_any_of("."));
    std::string result;
    for (const auto& label : labels) {
        const std::string clean = sanitizer->scrub(label);
        if (clean.empty()) continue;
        if (!result.empty()) result += '.';
        result += clean;
    }
    return !result.empty() && name.ends_with('.') ? result + '.' : result;
}

std::string qualified(const std::string& name, const DdnsParams& params, bool final_dot) {
    std::string result = name;
    if (!name.empty() && !name.ends_with('.')) {
        result = CfgMgr::instance().getD2ClientMgr().qualifyName(name, params, final_dot);
    }
    boost::algorithm::to_lower(result);
    return result;
}

bool replaces(D2ClientConfig::ReplaceClientNameMode mode, bool present) {
    switch (mode) {
        case D2ClientConfig::RCM_ALWAYS: return true;
        case D2ClientConfig::RCM_WHEN_PRESENT: return present;
        case D2ClientConfig::RCM_WHEN_NOT_PRESENT: return !present;
        case D2ClientConfig::RCM_NEVER: break;
    }
    return false;
}

}  // namespace

Name choose_name(const std::optional<std::string>& asked, const RowPtr& held,
                 const isc::dhcp::ConstHostPtr& host, const DdnsParamsPtr& params) {
    Name name;
    const bool updates = params->getEnableUpdates();
    if (host && !host->getHostname().empty()) {
        name.hostname = qualified(host->getHostname(), *params, updates);
    } else {
        const std::string before = held && is_live(*held) ? held->hostname_ : std::string();
        const std::string wish = scrubbed(asked.value_or(before), *params);
        if (updates && replaces(params->getReplaceClientNameMode(), !wish.empty())) {
            name.from_address = [params](const IOAddress& address) {
                std::string made =
                    CfgMgr::instance().getD2ClientMgr().generateFqdn(address, *params, true);
                boost::algorithm::to_lower(made);
                return made;
            };
        } else {
            name.hostname = qualified(wish, *params, updates);
        }
    }
    name.update = updates && (name.from_address || !name.hostname.empty());
    return name;
}

void queue_dns(isc::dhcp_ddns::NameChangeType change, const RowPtr& row) {
    if (const auto row4 = boost::dynamic_pointer_cast<Lease4>(row)) {
        isc::dhcp::queueNCR(change, row4);
    } else if (!is_prefix(*row)) {
        isc::dhcp::queueNCR(change, boost::dynamic_pointer_cast<Lease6>(row));
    }
}

void queue_dns_changes(const RowPtr& before, const RowPtr& row, bool on_renewal) {
    const bool same = before && row->hasIdenticalFqdn(*before);
    if (before && !same) queue_dns(isc::dhcp_ddns::CHG_REMOVE, before);
    if (!same || on_renewal) queue_dns(isc::dhcp_ddns::CHG_ADD, row);
}

}  // namespace dstm::kea
