// What Kea finds by name in the library. Each callout is thin: takes its arguments out of the
// handle, calls the hook, and lets no exception out.
#include <memory>
#include <string>

#include <cc/command_interpreter.h>
#include <dhcp/pkt4.h>
#include <dhcp/pkt6.h>
#include <dhcpsrv/cfgmgr.h>
#include <dhcpsrv/network_state.h>
#include <hooks/hooks.h>

#include "kea-hook/dstm_query.hpp"
#include "kea-hook/hook.hpp"
#include "kea-hook/kea_values.hpp"
#include "kea-hook/log.hpp"

namespace {

using dstm::kea::complete_renewed_lease;
using dstm::kea::complete_selected_lease;
using dstm::kea::EndingKind;
using dstm::kea::Hook;
using dstm::kea::hook_logger;
using isc::data::ConstElementPtr;
using isc::dhcp::Lease4Ptr;
using isc::dhcp::Lease6Ptr;
using isc::dhcp::Pkt4Ptr;
using isc::dhcp::Pkt6Ptr;
using isc::hooks::CalloutHandle;
using isc::hooks::LibraryHandle;

std::unique_ptr<Hook> hook;

template <class Body>
int guarded(const char* where, const Body& body) {
    try {
        if (hook) body();
        return 0;
    } catch (const std::exception& error) {
        LOG_ERROR(hook_logger, dstm::kea::DSTM_CALLOUT_FAILED).arg(where).arg(error.what());
    } catch (...) {
        LOG_ERROR(hook_logger, dstm::kea::DSTM_CALLOUT_FAILED)
            .arg(where)
            .arg("not a C++ exception");
    }
    return 1;
}

template <class T>
T argument(const CalloutHandle& handle, const char* name) {
    T value;
    handle.getArgument(name, value);
    return value;
}

// Another library may have told Kea not to do what it announces.
bool will_happen(const CalloutHandle& handle) {
    return handle.getStatus() != CalloutHandle::NEXT_STEP_SKIP &&
           handle.getStatus() != CalloutHandle::NEXT_STEP_DROP;
}

int lease4_ended(const char* where, CalloutHandle& handle, EndingKind kind) {
    return guarded(where, [&] {
        if (will_happen(handle)) hook->lease_ended(kind, *argument<Lease4Ptr>(handle, "lease4"));
    });
}

int lease6_ended(const char* where, CalloutHandle& handle, EndingKind kind) {
    return guarded(where, [&] {
        if (will_happen(handle)) hook->lease_ended(kind, *argument<Lease6Ptr>(handle, "lease6"));
    });
}

int configured(const char* where, CalloutHandle& handle) {
    return guarded(where, [&] {
        hook->configured(argument<isc::dhcp::NetworkStatePtr>(handle, "network_state"));
    });
}

int refuse(const std::string& why) {
    LOG_ERROR(hook_logger, dstm::kea::DSTM_LOAD_FAILED).arg(why);
    hook.reset();
    return 1;
}

int run_command(CalloutHandle& handle) {
    return guarded("command", [&] {
        ConstElementPtr arguments;
        const std::string name =
            isc::config::parseCommand(arguments, argument<ConstElementPtr>(handle, "command"));
        const ConstElementPtr response = to_element(hook->control_command(name, arguments));
        handle.setArgument("response", response);
    });
}

}  // namespace

extern "C" {

int load(LibraryHandle& handle) {
    try {
        if (const auto same = dstm::kea::check_library_tables(); !same) {
            return refuse(same.error().context);
        }
        const auto parameters = dstm::kea::read_parameters(handle.getParameters());
        if (!parameters) return refuse(parameters.error().context);
        const int family = isc::dhcp::CfgMgr::instance().getFamily();
        auto started = Hook::start(*parameters, family);
        if (!started) return refuse(started.error().context);
        hook = *std::move(started);
        for (const char* name : dstm::kea::command_names) {
            handle.registerCommandCallout(dstm::kea::command_prefix(family) + std::string(name),
                                          run_command);
        }
        LOG_INFO(hook_logger, dstm::kea::DSTM_LOADED).arg(parameters->socket_name);
        return 0;
    } catch (const std::exception& error) {
        return refuse(error.what());
    }
}

int unload() {
    if (hook) {
        LOG_INFO(hook_logger, dstm::kea::DSTM_UNLOADED);
    }
    hook.reset();
    return 0;
}

int dhcp4_srv_configured(CalloutHandle& handle) {
    return configured("dhcp4_srv_configured", handle);
}

int lease4_select(CalloutHandle& handle) {
    return guarded("lease4_select", [&] {
        if (!complete_selected_lease(*argument<Pkt4Ptr>(handle, "query4"),
                                     *argument<Lease4Ptr>(handle, "lease4"))) {
            handle.setStatus(CalloutHandle::NEXT_STEP_SKIP);
        }
    });
}

int lease4_renew(CalloutHandle& handle) {
    return guarded("lease4_renew", [&] {
        complete_renewed_lease(*argument<Pkt4Ptr>(handle, "query4"),
                               *argument<Lease4Ptr>(handle, "lease4"));
    });
}

int lease4_expire(CalloutHandle& handle) {
    return lease4_ended("lease4_expire", handle, EndingKind::expired);
}

int lease4_release(CalloutHandle& handle) {
    return lease4_ended("lease4_release", handle, EndingKind::released);
}

int lease4_decline(CalloutHandle& handle) {
    return lease4_ended("lease4_decline", handle, EndingKind::declined);
}

int lease4_recover(CalloutHandle& handle) {
    return lease4_ended("lease4_recover", handle, EndingKind::recovered);
}

int dhcp6_srv_configured(CalloutHandle& handle) {
    return configured("dhcp6_srv_configured", handle);
}

int lease6_select(CalloutHandle& handle) {
    return guarded("lease6_select", [&] {
        if (!complete_selected_lease(*argument<Pkt6Ptr>(handle, "query6"),
                                     *argument<Lease6Ptr>(handle, "lease6"))) {
            handle.setStatus(CalloutHandle::NEXT_STEP_SKIP);
        }
    });
}

int lease6_renew(CalloutHandle& handle) {
    return guarded("lease6_renew", [&] {
        complete_renewed_lease(*argument<Pkt6Ptr>(handle, "query6"),
                               *argument<Lease6Ptr>(handle, "lease6"));
    });
}

int lease6_expire(CalloutHandle& handle) {
    return lease6_ended("lease6_expire", handle, EndingKind::expired);
}

int lease6_release(CalloutHandle& handle) {
    return lease6_ended("lease6_release", handle, EndingKind::released);
}

int lease6_decline(CalloutHandle& handle) {
    return lease6_ended("lease6_decline", handle, EndingKind::declined);
}

int lease6_recover(CalloutHandle& handle) {
    return lease6_ended("lease6_recover", handle, EndingKind::recovered);
}

int command_processed(CalloutHandle& handle) {
    return guarded("command_processed", [&] {
        hook->command_processed(argument<std::string>(handle, "name"),
                                argument<ConstElementPtr>(handle, "arguments"),
                                argument<ConstElementPtr>(handle, "response"));
    });
}
}
