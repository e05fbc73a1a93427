// XDP by libbpf, in the driver only.
#include "tep/bpf/xdp_hook.hpp"

#include <cerrno>
#include <utility>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <unistd.h>

namespace dstm::tep::bpf {
namespace {

using dataplane::Descriptor;

// The interface may have gone, or another one have come in its place: then its program is not that
// of the link.
bool leads_to(const Descriptor& link, int interface) {
    bpf_link_info info{};
    __u32 size = sizeof info;
    return bpf_obj_get_info_by_fd(link.number(), &info, &size) == 0 &&
           info.type == BPF_LINK_TYPE_XDP &&
           info.xdp.ifindex == static_cast<__u32>(interface) &&
           info.prog_id == XdpHook::number_on(interface);
}

tl::unexpected<Error> fail_attaching(int number, int interface) {
    auto error = error_from_errno(
        number, "attaching an XDP program to interface " + std::to_string(interface));
    if (number == EBUSY || number == EEXIST) error.code = ErrorCode::conflict;
    if (number == EOPNOTSUPP) error.code = ErrorCode::refused;
    return tl::unexpected(error);
}

}  // namespace

Result<XdpHook> XdpHook::attach(int interface, int program, std::string pin) {
    if (!pin.empty()) {
        Descriptor left(bpf_obj_get(pin.c_str()));
        if (left.is_open() && leads_to(left, interface) &&
            bpf_link_update(left.number(), program, nullptr) == 0) {
            return XdpHook(std::move(left), std::move(pin));
        }
        end(pin);
    }
    // Not the generic mode: it is slower than tc and takes the merged packets away.
    LIBBPF_OPTS(bpf_link_create_opts, options);
    options.flags = XDP_FLAGS_DRV_MODE;
    Descriptor link(bpf_link_create(program, interface, BPF_XDP, &options));
    if (!link.is_open()) return fail_attaching(errno, interface);
    if (!pin.empty() && bpf_obj_pin(link.number(), pin.c_str()) != 0) pin.clear();
    return XdpHook(std::move(link), std::move(pin));
}

XdpHook::~XdpHook() {
    if (!link_.is_open()) return;
    bpf_link_detach(link_.number());  // at once, and not when the kernel cleans up
    if (!pin_.empty()) ::unlink(pin_.c_str());
}

void XdpHook::end(const std::string& pin) {
    const Descriptor link(bpf_obj_get(pin.c_str()));
    if (link.is_open()) bpf_link_detach(link.number());
    ::unlink(pin.c_str());
}

void XdpHook::end_earlier(int interface, const dstm_hook& record) {
    if (record.has_xdp == 0 || record.xdp_program != number_on(interface)) return;
    static_cast<void>(bpf_xdp_detach(interface, XDP_FLAGS_DRV_MODE, nullptr));
}

std::uint32_t XdpHook::number_on(int interface) {
    __u32 number = 0;
    if (bpf_xdp_query_id(interface, XDP_FLAGS_DRV_MODE, &number) != 0) return 0;
    return number;
}

}  // namespace dstm::tep::bpf
