// XDP by libbpf, in the driver only.
#include "tep/bpf/xdp_hook.hpp"

#include <cerrno>
#include <string_view>
#include <utility>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>

#include "common/dataplane/descriptor.hpp"

namespace dstm::tep::bpf {
namespace {

using dataplane::Descriptor;

// Of a program of ours in the driver; closed when there is none.
Descriptor ours_on(int interface) {
    __u32 id = 0;
    if (bpf_xdp_query_id(interface, XDP_FLAGS_DRV_MODE, &id) != 0 || id == 0) return Descriptor();
    Descriptor program(bpf_prog_get_fd_by_id(id));
    bpf_prog_info info{};
    __u32 size = sizeof info;
    const bool is_ours = program.is_open() &&
                         bpf_obj_get_info_by_fd(program.number(), &info, &size) == 0 &&
                         std::string_view(info.name) == "dstm_xdp";
    return is_ours ? std::move(program) : Descriptor();
}

void detach(int interface, int program) {
    LIBBPF_OPTS(bpf_xdp_attach_opts, options);
    options.old_prog_fd = program;  // only this one
    static_cast<void>(bpf_xdp_detach(interface, XDP_FLAGS_DRV_MODE | XDP_FLAGS_REPLACE, &options));
}

}  // namespace

Result<XdpHook> XdpHook::attach(int interface, int program) {
    // Not the generic mode: it is slower than tc and takes the merged packets away.
    const auto earlier = ours_on(interface);
    LIBBPF_OPTS(bpf_xdp_attach_opts, options);
    options.old_prog_fd = earlier.number();
    const auto how = earlier.is_open() ? XDP_FLAGS_REPLACE : XDP_FLAGS_UPDATE_IF_NOEXIST;
    const int failed = bpf_xdp_attach(interface, program, XDP_FLAGS_DRV_MODE | how,
                                      earlier.is_open() ? &options : nullptr);
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
    if (interface_ != 0) detach(interface_, program_);
}

void XdpHook::detach_ours(int interface) {
    const auto program = ours_on(interface);
    if (program.is_open()) detach(interface, program.number());
}

}  // namespace dstm::tep::bpf
