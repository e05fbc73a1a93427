// See the header.
#include "kea-hook/engine_parts.hpp"

#include <eval/evaluate.h>

namespace dstm::kea {

using isc::dhcp::CfgMgr;
using isc::dhcp::Pkt;

void add_configured_classes(Pkt& query, bool depend_on_known) {
    const auto dictionary = CfgMgr::instance().getCurrentCfg()->getClientClassDictionary();
    for (const auto& definition : *dictionary->getClasses()) {
        const auto& expression = definition->getMatchExpr();
        if (!expression || definition->getRequired()) continue;
        if (definition->getDependOnKnown() != depend_on_known) continue;
        try {
            if (isc::dhcp::evaluateBool(*expression, query)) query.addClass(definition->getName());
        } catch (const isc::Exception&) {
            // An expression that cannot be evaluated for this message is false, as in Kea.
        }
    }
}

void add_first_classes(Pkt& query, const std::vector<std::string>& classes) {
    query.addClass("ALL");
    query.addClass(std::string("VENDOR_CLASS_") + vendor_class);
    for (const auto& name : classes) query.addClass(name);
    add_configured_classes(query, false);
}

void add_classes_of_host(Pkt& query, bool known, const isc::dhcp::ClientClasses& host_classes) {
    query.addClass(known ? "KNOWN" : "UNKNOWN");
    for (const auto& name : host_classes) query.addClass(name);
    add_configured_classes(query, true);
}

}  // namespace dstm::kea
