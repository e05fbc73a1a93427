// XDP by libbpf, in the driver only.
#include "tep/bpf/xdp_hook.hpp"

#include <cerrno>
#include <utility>

#include <bpf/libbpf.h>
#include <linux/if_link.h>

namespace dstm::tep::bpf {

Result<XdpHook> XdpHook::attach(int interface, int program) {
    // Not the generic mode: it is slower than tc and takes the merged packets away.
    const int failed = bpf_xdp_attach(interface, program,
                                      XDP_FLAGS_DRV_MODE | XDP_FLAGS_UPDATE_IF_NOEXIST, nullptr);
    if (failed == 0) return XdpHook(interface, program);
    auto error = error_from_errno(
        -failed, "attaching an XDP program to interface " + std::to_string(interface));
    if (failed == -EBUSY || failed == -EEXIST) error.code = ErrorCode::conflict;
    if (failed == -EOPNOTSUPP) error.code = ErrorCode::refused;
    return tl::unexpected(error);
}

XdpHook::XdpHook(XdpHook&& other) noexcept
    : interface_(std::exchange(other.interface_, 0)), program_(other.program_) {}

XdpHook& XdpHook::operator=(XdpHook&& other) noexcept {
    std::swap(interface_, other.interface_);
    std::swap(program_, other.program_);
    return *this;
}

XdpHook::~XdpHook() {
    if (interface_ == 0) return;
    LIBBPF_OPTS(bpf_xdp_attach_opts, options);
    options.old_prog_fd = program_;  // only ours
    static_cast<void>(bpf_xdp_detach(interface_, XDP_FLAGS_DRV_MODE | XDP_FLAGS_REPLACE, &options));
}

}  // namespace dstm::tep::bpf
