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
constexpr std::uint32_t our_handle = 0xd5;
constexpr std::uint32_t our_priority = 0xd57;
constexpr std::string_view our_names = "dstm_";

bpf_tc_hook hook_of(int interface, TcDirection direction) {
    bpf_tc_hook hook{};
    hook.sz = sizeof hook;
    hook.ifindex = interface;
    hook.attach_point = direction == TcDirection::ingress ? BPF_TC_INGRESS : BPF_TC_EGRESS;
    return hook;
}

bpf_tc_opts our_place() {
    bpf_tc_opts place{};
    place.sz = sizeof place;
    place.handle = our_handle;
    place.priority = our_priority;
    return place;
}

bool is_in_our_place(const TcFilter& filter) {
    return filter.priority == our_priority && filter.handle == our_handle;
}

// The name that libbpf gave it, which needs no more rights to read than the filter itself.
bool is_ours(const TcFilter& filter) {
    return is_in_our_place(filter) && filter.name.starts_with(our_names);
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

}  // namespace

Result<TcHook> TcHook::attach(int interface, TcDirection direction, int program,
                              bool made_qdisc) {
    auto hook = hook_of(interface, direction);
    const int made = bpf_tc_hook_create(&hook);  // says so too when the qdisc is there already
    if (made != 0 && made != -EEXIST) {
        return tl::unexpected(tc_error(-made, "making clsact on " + name_of(interface)));
    }
    TcHook out(interface, direction, made == 0 || made_qdisc);
    const auto there = filters_on(interface, direction);
    if (!there) return tl::unexpected(there.error());
    const auto other = std::ranges::find_if(*there, is_in_our_place);
    if (other != there->end() && !is_ours(*other)) {
        return fail(ErrorCode::conflict,
                    "on " + name_of(interface) + " the tc filter of priority " +
                        std::to_string(our_priority) + " and handle " +
                        std::to_string(our_handle) + " is not ours; remove it, then start again");
    }
    auto place = our_place();
    place.prog_fd = program;
    place.flags = BPF_TC_F_REPLACE;
    if (const int failed = bpf_tc_attach(&hook, &place); failed != 0) {
        return tl::unexpected(
            tc_error(-failed, "attaching a BPF program to " + name_of(interface)));
    }
    return out;
}

bool TcHook::stands_on(int interface, TcDirection direction) {
    const auto there = filters_on(interface, direction);
    return there && std::ranges::any_of(*there, is_ours);
}

dataplane::Descriptor TcHook::program_on(int interface, TcDirection direction) {
    const auto hook = hook_of(interface, direction);
    auto place = our_place();
    if (bpf_tc_query(&hook, &place) != 0) return dataplane::Descriptor();
    dataplane::Descriptor program(bpf_prog_get_fd_by_id(place.prog_id));
    const auto info = info_of(program.number());
    const bool is_ours = info && std::string_view(info->name).starts_with(our_names);
    return is_ours ? std::move(program) : dataplane::Descriptor();
}

TcHook::TcHook(TcHook&& other) noexcept
    : interface_(std::exchange(other.interface_, 0)),
      direction_(other.direction_),
      made_qdisc_(other.made_qdisc_) {}

TcHook& TcHook::operator=(TcHook&& other) noexcept {
    std::swap(interface_, other.interface_);
    std::swap(direction_, other.direction_);
    std::swap(made_qdisc_, other.made_qdisc_);
    return *this;
}

TcHook::~TcHook() {
    if (interface_ == 0) return;
    // An interface that is gone has taken its hook with it: what fails here is done already.
    auto hook = hook_of(interface_, direction_);
    const auto place = our_place();
    if (stands_on(interface_, direction_)) {
        static_cast<void>(bpf_tc_detach(&hook, &place));
    }
    // Filters of others would go with the qdisc.
    if (!made_qdisc_ || has_filters(interface_)) return;
    hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
    static_cast<void>(bpf_tc_hook_destroy(&hook));
}

}  // namespace dstm::tep::bpf
