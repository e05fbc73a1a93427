// XDP by libbpf, in the driver only.
#include "tep/bpf/xdp_hook.hpp"

#include <cerrno>
#include <string_view>
#include <utility>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>

#include "common/dataplane/descriptor.hpp"
#include "tep/bpf/program_info.hpp"

namespace dstm::tep::bpf {
namespace {

using dataplane::Descriptor;

bool is_ours(std::uint32_t number, std::uint32_t earlier) {
    if (number == 0) return false;
    if (number == earlier) return true;
    const Descriptor program(bpf_prog_get_fd_by_id(number));
    const auto info = info_of(program.number());
    return info && std::string_view(info->name) == "dstm_xdp";
}

}  // namespace

Result<XdpHook> XdpHook::attach(int interface, int program, std::uint32_t earlier) {
    // Not the generic mode: it is slower than tc and takes the merged packets away.
    const auto how = is_ours(number_on(interface), earlier) ? 0 : XDP_FLAGS_UPDATE_IF_NOEXIST;
    const int failed = bpf_xdp_attach(interface, program, XDP_FLAGS_DRV_MODE | how, nullptr);
    if (failed == 0) return XdpHook(interface);
    auto error = error_from_errno(
        -failed, "attaching an XDP program to interface " + std::to_string(interface));
    if (failed == -EBUSY || failed == -EEXIST) error.code = ErrorCode::conflict;
    if (failed == -EOPNOTSUPP) error.code = ErrorCode::refused;
    return tl::unexpected(error);
}

XdpHook::XdpHook(XdpHook&& other) noexcept : interface_(std::exchange(other.interface_, 0)) {}

XdpHook& XdpHook::operator=(XdpHook&& other) noexcept {
    std::swap(interface_, other.interface_);
    return *this;
}

XdpHook::~XdpHook() {
    if (interface_ != 0) bpf_xdp_detach(interface_, XDP_FLAGS_DRV_MODE, nullptr);
}

std::uint32_t XdpHook::number_on(int interface) {
    __u32 number = 0;
    if (bpf_xdp_query_id(interface, XDP_FLAGS_DRV_MODE, &number) != 0) return 0;
    return number;
}

std::uint32_t XdpHook::number_of(int program) {
    const auto info = info_of(program);
    return info ? info->id : 0;
}

std::uint32_t XdpHook::program_number() const { return number_on(interface_); }

void XdpHook::detach_ours(int interface, std::uint32_t program) {
    if (is_ours(XdpHook::number_on(interface), program)) XdpHook{interface};
}

}  // namespace dstm::tep::bpf
