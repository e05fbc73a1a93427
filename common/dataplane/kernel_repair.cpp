// What an endpoint's plane does when somebody else lays hands on its devices: one that was deleted
// is made again, one that was set down stays so until it is set up, and then has its routes again.
// The kernel takes the routes of a device that goes down, and does not bring them back.
#include <utility>

#include "common/dataplane/kernel_endpoint.hpp"
#include "common/log/log.hpp"

namespace dstm::dataplane {
namespace {

enum class State { up, down, gone, unknown };

State state_of(TunnelLinks& links, int device) {
    const auto link = links.read(device);
    if (link) return link->is_up ? State::up : State::down;
    return link.error().code == ErrorCode::not_found ? State::gone : State::unknown;
}

void tell(const std::string& device, const Result<void>& repaired) {
    if (repaired) return;
    log_warning("KERNEL_NOT_REPAIRED", "device={} why={}", device,
                log::quoted(to_string(repaired.error())));
}

}  // namespace

void KernelEndpoint::look_after_devices() {
    const auto news = link_news_->take();
    if (news && news->empty()) return;
    const auto is_news = [&](int device) { return !news || news->contains(device); };
    for (const auto& carried : carried_) {
        if (is_news(own_devices_.at(carried.type))) look_after_own(carried);
    }
    for (auto& [far_end, device] : devices_) {
        if (is_news(device.index)) look_after(far_end, device);
    }
}

void KernelEndpoint::look_after_own(const Carried& carried) {
    const auto device = own_devices_.at(carried.type);
    const auto state = state_of(host_.links, device);
    if (state == State::unknown) return;
    if (state == State::down) {
        log_warning("KERNEL_DEVICE_DOWN", "device={}", carried.device);
        return;
    }
    Result<void> done;
    if (state == State::gone) {
        log_warning("KERNEL_DEVICE_GONE", "device={}", carried.device);
        done = start_own(carried, {});
    } else {
        done = furnish(carried, device);
    }
    // The address of this device is the source that all routes of its kind prefer.
    for (const auto& [far_end, other] : devices_) {
        if (done && other.type == carried.type) done = lead_into(other);
    }
    tell(carried.device, done);
}

void KernelEndpoint::look_after(const IpAddress& far_end, Device& device) {
    const auto state = state_of(host_.links, device.index);
    if (state == State::unknown) return;
    if (state == State::down) {
        if (std::exchange(device.is_down, true)) return;
        log_warning("KERNEL_DEVICE_DOWN", "device={}", device.name);
        return;
    }
    device.is_down = false;
    if (state == State::up) return tell(device.name, lead_into(device));
    log_warning("KERNEL_DEVICE_GONE", "device={}", device.name);
    tell(device.name, make_again(far_end, device));
}

Result<void> KernelEndpoint::make_again(const IpAddress& far_end, Device& device) {
    const auto made = make_device(device.type, far_end);
    if (!made) return tl::unexpected(made.error());
    device.index = made->index;
    device.name = made->name;
    auto done = host_.links.set_alias(device.index, write_alias(device.tunnels));
    if (done) done = host_.netlink.set_interface_up(device.index, true);
    for (const auto& [slot, spec] : device.tunnels) {
        auto& tunnel = tunnels_.at(spec.inner);
        // They are about what the former device had counted.
        tunnel.before = {};
        tunnel.sightings.begin_anew();
        if (done && tunnel.is_open) done = open_tunnel(device, slot);
    }
    return done;
}

Result<void> KernelEndpoint::lead_into(const Device& device) {
    Result<void> done;
    for (const auto& [slot, spec] : device.tunnels) {
        if (!tunnels_.at(spec.inner).is_open) continue;
        for (const auto& route : routes_of(spec, device)) {
            if (done) done = host_.netlink.replace_route(route);
        }
    }
    return done;
}

}  // namespace dstm::dataplane
