// clsact by libbpf: our filter has a fixed place, so that it can be found again.
#include "tep/bpf/tc_hook.hpp"

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>
#include <vector>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>

#include "tep/bpf/program_info.hpp"

namespace dstm::tep::bpf {
namespace {

// Ours among the filters of a hook: what is found there is replaced, what is elsewhere stays.
constexpr std::uint32_t our_priority = 0xd57;
constexpr std::string_view our_names = "dstm_";
// Up to layout 3, for the filters of all devices.
constexpr std::uint32_t earlier_handle = 0xd5;

bpf_tc_hook hook_of(const TcPlace& place) {
    bpf_tc_hook hook{};
    hook.sz = sizeof hook;
    hook.ifindex = place.interface;
    hook.attach_point =
        place.direction == TcDirection::ingress ? BPF_TC_INGRESS : BPF_TC_EGRESS;
    return hook;
}

bpf_tc_opts options_of(std::uint32_t handle) {
    bpf_tc_opts options{};
    options.sz = sizeof options;
    options.handle = handle;
    options.priority = our_priority;
    return options;
}

// The name that libbpf gave it, which needs no more rights to read than the filter itself.
bool is_of_a_daemon(const TcFilter& filter) { return filter.name.starts_with(our_names); }

bool is_ours(const TcFilter& filter, const TcPlace& place) {
    return filter.priority == our_priority && is_of_a_daemon(filter) &&
           (filter.handle == place.handle ||
            (place.was_ours && filter.handle == earlier_handle));
}

// None on an interface that is gone.
std::vector<TcFilter> ours_on(const TcPlace& place) {
    auto there = filters_on(place.interface, place.direction).value_or(std::vector<TcFilter>{});
    std::erase_if(there, [&](const TcFilter& filter) { return !is_ours(filter, place); });
    return there;
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
    const auto there = filters_on(place.interface, place.direction);
    TcHook out(place, made == 0 || made_qdisc);
    // What fails leaves what an earlier process left there.
    if (made != 0 && (!there || std::ranges::any_of(*there, [&](const TcFilter& filter) {
                          return is_ours(filter, place);
                      }))) {
        out.leave();
    }
    if (!there) return tl::unexpected(there.error());
    const auto other = std::ranges::find_if(*there, [&](const TcFilter& filter) {
        return filter.priority == our_priority && !is_ours(filter, place);
    });
    if (other != there->end()) return fail_taken(place.interface, *other);
    auto options = options_of(place.handle);
    options.prog_fd = program;
    options.flags = BPF_TC_F_REPLACE;
    if (const int failed = bpf_tc_attach(&hook, &options); failed != 0) {
        return tl::unexpected(
            tc_error(-failed, "attaching a BPF program to " + name_of(place.interface)));
    }
    if (place.was_ours) {  // where there is none, nothing happens
        const auto earlier = options_of(earlier_handle);
        static_cast<void>(bpf_tc_detach(&hook, &earlier));
    }
    out.place_ = place;
    return out;
}

bool TcHook::stands_on(const TcPlace& place) { return !ours_on(place).empty(); }

bool TcHook::stands() const { return stands_on(place_); }

dataplane::Descriptor TcHook::program_on(const TcPlace& place) {
    const auto hook = hook_of(place);
    for (const auto& filter : ours_on(place)) {
        auto options = options_of(filter.handle);
        if (bpf_tc_query(&hook, &options) != 0) continue;
        return dataplane::Descriptor(bpf_prog_get_fd_by_id(options.prog_id));
    }
    return dataplane::Descriptor();
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
    for (const auto& filter : ours_on(place_)) {
        const auto options = options_of(filter.handle);
        static_cast<void>(bpf_tc_detach(&hook, &options));
    }
    // Filters of others would go with the qdisc.
    if (!made_qdisc_ || has_filters(place_.interface)) return;
    hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
    static_cast<void>(bpf_tc_hook_destroy(&hook));
}

}  // namespace dstm::tep::bpf
