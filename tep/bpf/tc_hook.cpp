// clsact by libbpf: our filter has a fixed place, so that it can be found again.
#include "tep/bpf/tc_hook.hpp"

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>

#include "tep/bpf/program_info.hpp"

namespace dstm::tep::bpf {
namespace {

// Ours among the filters of a hook: what is found there is replaced, what is elsewhere stays.
constexpr std::uint32_t our_priority = 0xd57;
constexpr std::string_view our_names = "dstm_";

bpf_tc_hook hook_of(const TcPlace& place) {
    bpf_tc_hook hook{};
    hook.sz = sizeof hook;
    hook.ifindex = place.interface;
    hook.attach_point =
        place.direction == TcDirection::ingress ? BPF_TC_INGRESS : BPF_TC_EGRESS;
    return hook;
}

bpf_tc_opts options_of(const TcPlace& place) {
    bpf_tc_opts options{};
    options.sz = sizeof options;
    options.handle = place.handle;
    options.priority = our_priority;
    return options;
}

// The name that libbpf gave it, which needs no more rights to read than the filter itself.
bool is_of_a_daemon(const TcFilter& filter) { return filter.name.starts_with(our_names); }

bool is_ours(const TcFilter& filter, const TcPlace& place) {
    return filter.priority == our_priority && filter.handle == place.handle &&
           is_of_a_daemon(filter);
}

bool has_filters(int interface) {
    for (const auto direction : {TcDirection::ingress, TcDirection::egress}) {
        const auto filters = filters_on(interface, direction);
        if (!filters || !filters->empty()) return true;
    }
    return false;
}

// Of an interface that is gone it says ENODEV.
Error tc_error(int code, const std::string& doing) {
    auto error = error_from_errno(code, doing);
    if (code == ENOENT) {
        error.code = ErrorCode::unavailable;
        error.context += " (needs CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF in the kernel)";
    }
    return error;
}

std::string name_of(int interface) {
    char name[IF_NAMESIZE] = {};
    if (if_indextoname(static_cast<unsigned>(interface), name) != nullptr) return name;
    return "interface " + std::to_string(interface);
}

tl::unexpected<Error> fail_taken(int interface, const TcFilter& by) {
    if (is_of_a_daemon(by)) {
        return fail(ErrorCode::conflict,
                    "on " + name_of(interface) + " another dstm-tep takes the packets; give each "
                    "\"interfaces\" of its own, or end the other one with dstm-tep --detach");
    }
    return fail(ErrorCode::conflict, "on " + name_of(interface) + " the tc filter of priority " +
                                         std::to_string(our_priority) +
                                         " is not ours; remove it, then start again");
}

}  // namespace

// FNV-1a.
std::uint32_t tc_handle_of(const std::string& device) {
    std::uint32_t hash = 2166136261U;
    for (const char letter : device) {
        hash = (hash ^ static_cast<std::uint8_t>(letter)) * 16777619U;
    }
    return hash | 1;  // 0 would be the kernel's choice
}

Result<TcHook> TcHook::attach(const TcPlace& place, int program, bool made_qdisc) {
    auto hook = hook_of(place);
    const int made = bpf_tc_hook_create(&hook);  // says so too when the qdisc is there already
    if (made != 0 && made != -EEXIST) {
        return tl::unexpected(tc_error(-made, "making clsact on " + name_of(place.interface)));
    }
    TcHook out(place, made == 0 || made_qdisc);
    const auto there = filters_on(place.interface, place.direction);
    if (!there) return tl::unexpected(there.error());
    const auto other = std::ranges::find_if(*there, [&](const TcFilter& filter) {
        return filter.priority == our_priority && !is_ours(filter, place);
    });
    if (other != there->end()) return fail_taken(place.interface, *other);
    auto options = options_of(place);
    options.prog_fd = program;
    options.flags = BPF_TC_F_REPLACE;
    if (const int failed = bpf_tc_attach(&hook, &options); failed != 0) {
        return tl::unexpected(
            tc_error(-failed, "attaching a BPF program to " + name_of(place.interface)));
    }
    return out;
}

bool TcHook::stands_on(const TcPlace& place) {
    const auto there = filters_on(place.interface, place.direction);
    return there && std::ranges::any_of(*there, [&](const TcFilter& filter) {
        return is_ours(filter, place);
    });
}

bool TcHook::stands() const { return stands_on(place_); }

dataplane::Descriptor TcHook::program_on(const TcPlace& place) {
    const auto hook = hook_of(place);
    auto options = options_of(place);
    if (!stands_on(place) || bpf_tc_query(&hook, &options) != 0) return dataplane::Descriptor();
    return dataplane::Descriptor(bpf_prog_get_fd_by_id(options.prog_id));
}

TcHook::TcHook(TcHook&& other) noexcept
    : place_(std::exchange(other.place_, TcPlace{})), made_qdisc_(other.made_qdisc_) {}

TcHook& TcHook::operator=(TcHook&& other) noexcept {
    std::swap(place_, other.place_);
    std::swap(made_qdisc_, other.made_qdisc_);
    return *this;
}

TcHook::~TcHook() {
    if (place_.interface == 0) return;
    // An interface that is gone has taken its hook with it: what fails here is done already.
    auto hook = hook_of(place_);
    const auto options = options_of(place_);
    if (stands_on(place_)) static_cast<void>(bpf_tc_detach(&hook, &options));
    // Filters of others would go with the qdisc.
    if (!made_qdisc_ || has_filters(place_.interface)) return;
    hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
    static_cast<void>(bpf_tc_hook_destroy(&hook));
}

}  // namespace dstm::tep::bpf
