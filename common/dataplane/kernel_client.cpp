// The kernel data plane of a client: one device, changed in place when the host moves.
#include <mutex>
#include <optional>

#include "common/base/assert.hpp"
#include "common/dataplane/kernel_alias.hpp"
#include "common/dataplane/kernel_host.hpp"
#include "common/dataplane/path_mtu.hpp"
#include "common/dataplane/sightings.hpp"
#include "common/log/log.hpp"

namespace dstm::dataplane {
namespace {

// The client's source check is the device itself, which takes packets of the endpoint only. These
// say for whom they may be: a host that forwards is no way into the networks behind it.
std::vector<IngressRule> rules_of(const TunnelSpec& spec) {
    std::vector<IngressRule> rules{{1, {}, host_prefix(spec.inner), true}};
    if (spec.inner_prefix) rules.push_back({2, {}, *spec.inner_prefix, true});
    return rules;
}

class KernelClient final : public DataPlane {
public:
    KernelClient(std::string device, const Clock& clock, KernelHost host, Descriptor held)
        : device_(std::move(device)),
          clock_(clock),
          held_(std::move(held)),
          host_(std::move(host)),
          mss_clamp_(clamp_mss(device_)),
          housekeeper_([this] { keep_house(); }) {}
    ~KernelClient() override {
        const std::lock_guard lock(mutex_);
        forget();
    }

    [[nodiscard]] std::string_view name() const override { return "kernel"; }
    [[nodiscard]] Result<void> add(const TunnelSpec& spec) override;
    [[nodiscard]] Result<void> remove(const IpAddress& inner, Generation up_to) override;
    [[nodiscard]] std::vector<InstalledTunnel> list() const override;
    [[nodiscard]] DropCounters drops() const override;
    [[nodiscard]] Result<void> lower_path_mtu(std::uint32_t outer_mtu) override;

private:
    // By lower_path_mtu().
    struct Lowered {
        std::uint32_t mtu_before = 0;  // of the device
        Instant at;
    };
    struct Tunnel {
        TunnelSpec spec;
        int device = 0;
        bool is_closed = false;
        std::optional<Lowered> lowered;
        Sightings sightings;
    };

    [[nodiscard]] Result<void> check_add(const TunnelSpec& spec);
    [[nodiscard]] Result<void> make_device(const TunnelSpec& spec);
    [[nodiscard]] Result<void> change_device(const TunnelSpec& spec);
    [[nodiscard]] TunnelLink link_of(const TunnelSpec& spec) const;
    // What is for the client's own addresses comes in, and goes out at all.
    [[nodiscard]] Result<void> let_pass(bool passes);
    void keep_house();
    void expire();
    void forget_lowered();
    void forget();

    const std::string device_;
    const Clock& clock_;
    const Descriptor held_;
    mutable std::mutex mutex_;
    mutable KernelHost host_;
    std::optional<NftTable> mss_clamp_;  // of what the client forwards for others
    mutable std::optional<Tunnel> tunnel_;
    Housekeeper housekeeper_;
};

Result<void> KernelClient::check_add(const TunnelSpec& spec) {
    if (auto checked = check_tunnel(spec); !checked) return checked;
    if (tunnel_ && tunnel_->spec.inner != spec.inner) {
        return fail(ErrorCode::exhausted, "a client has one tunnel");
    }
    if (tunnel_ && tunnel_->spec.generation > spec.generation) {
        return fail(ErrorCode::conflict, "a newer tunnel is installed");
    }
    const auto holder = host_.netlink.interface_of_address(spec.outer_client.address);
    if (!holder && holder.error().code == ErrorCode::not_found) {
        return fail(ErrorCode::unavailable, holder.error().context);
    }
    return holder ? Result<void>{} : tl::unexpected(holder.error());
}

Result<void> KernelClient::add(const TunnelSpec& spec) {
    const std::lock_guard lock(mutex_);
    if (auto checked = check_add(spec); !checked) return checked;
    // Another device, or somebody has taken it away.
    if (tunnel_ && (tunnel_->spec.type != spec.type || !host_.links.read(tunnel_->device)))
        forget();
    if (auto done = tunnel_ ? change_device(spec) : make_device(spec); !done) return done;
    tunnel_->spec = spec;
    return tunnel_->is_closed ? let_pass(true) : Result<void>{};
}

TunnelLink KernelClient::link_of(const TunnelSpec& spec) const {
    TunnelLink link;
    link.type = spec.type;
    link.name = device_;
    link.local = spec.outer_client.address;
    link.remote = spec.outer_server;
    link.alias = write_alias({{Slot{0}, spec}});
    return link;
}

Result<void> KernelClient::make_device(const TunnelSpec& spec) {
    const auto device = host_.links.add(link_of(spec));
    if (!device) return tl::unexpected(device.error());
    tunnel_ = Tunnel{spec, *device, false, std::nullopt, {}};
    if (spec.type == TunnelType::v4v6) silence_ipv6(device_);
    auto done = host_.filter.close_ingress(*device);
    for (const auto& rule : rules_of(spec)) {
        if (done) done = host_.filter.add(*device, rule);
    }
    if (done) {
        done = host_.netlink.add_address(*device, spec.inner, host_prefix_length(spec.inner));
    }
    if (done) done = host_.netlink.set_interface_up(*device, true);
    if (!done) forget();
    return done;
}

Result<void> KernelClient::change_device(const TunnelSpec& spec) {
    auto link = link_of(spec);
    link.index = tunnel_->device;
    const auto before = link_of(tunnel_->spec);
    if (link.local != before.local || link.remote != before.remote) {
        if (auto changed = host_.links.change(link); !changed) return changed;
        tunnel_->lowered.reset();
    }
    auto done = host_.links.set_alias(link.index, link.alias);
    if (tunnel_->is_closed || spec.inner_prefix == tunnel_->spec.inner_prefix) return done;
    if (done && tunnel_->spec.inner_prefix) {
        done = host_.filter.remove(link.index, rules_of(tunnel_->spec).back());
    }
    if (done && spec.inner_prefix) done = host_.filter.add(link.index, rules_of(spec).back());
    return done;
}

Result<void> KernelClient::remove(const IpAddress& inner, Generation up_to) {
    const std::lock_guard lock(mutex_);
    if (!tunnel_ || tunnel_->spec.inner != inner) {
        return fail(ErrorCode::not_found, "no tunnel for " + to_string(inner));
    }
    if (tunnel_->spec.generation > up_to) {
        return fail(ErrorCode::conflict, "a newer tunnel is installed");
    }
    forget();
    return {};
}

std::vector<InstalledTunnel> KernelClient::list() const {
    const std::lock_guard lock(mutex_);
    if (!tunnel_) return {};
    TunnelCounters counters;
    if (const auto link = host_.links.read(tunnel_->device)) counters = counters_of(*link);
    tunnel_->sightings.note(counters, clock_.wall());
    return {{tunnel_->spec, counters}};
}

DropCounters KernelClient::drops() const {
    const std::lock_guard lock(mutex_);
    DropCounters out{{"bad_destination", 0}, {"ecn_congested", 0}, {"send_failed", 0}};
    if (!tunnel_) return out;
    out["bad_destination"] = host_.filter.dropped_in(tunnel_->device);
    if (const auto link = host_.links.read(tunnel_->device)) {
        out["ecn_congested"] = link->congested;
        out["send_failed"] = link->send_errors;
    }
    return out;
}

// The kernel makes the device's MTU anew when the device changes, which a move does.
Result<void> KernelClient::lower_path_mtu(std::uint32_t outer_mtu) {
    const std::lock_guard lock(mutex_);
    if (!tunnel_) return fail(ErrorCode::not_found, "no tunnel");
    const auto before = host_.netlink.interface_mtu(tunnel_->device);
    if (!before) return tl::unexpected(before.error());
    const auto mtu = outer_mtu - overhead_of(tunnel_->spec.type);
    if (auto set = host_.netlink.set_interface_mtu(tunnel_->device, mtu); !set) return set;
    const auto first = tunnel_->lowered ? tunnel_->lowered->mtu_before : *before;
    tunnel_->lowered = Lowered{first, clock_.now()};
    return {};
}

Result<void> KernelClient::let_pass(bool passes) {
    auto& filter = host_.filter;
    const auto device = tunnel_->device;
    Result<void> done;
    for (const auto& rule : rules_of(tunnel_->spec)) {
        if (done) done = passes ? filter.add(device, rule) : filter.remove(device, rule);
    }
    if (done) done = passes ? filter.open_egress(device) : filter.close_egress(device);
    if (done) tunnel_->is_closed = !passes;
    return done;
}

void KernelClient::keep_house() {
    const std::lock_guard lock(mutex_);
    expire();
    forget_lowered();
}

// RFC 8201 s5.3, RFC 8899 s5.1.1 (PMTU_RAISE_TIMER)
void KernelClient::forget_lowered() {
    if (!tunnel_ || !tunnel_->lowered) return;
    if (clock_.now() - tunnel_->lowered->at < path_mtu_lifetime) return;
    const auto mtu = tunnel_->lowered->mtu_before;
    tunnel_->lowered.reset();
    if (const auto set = host_.netlink.set_interface_mtu(tunnel_->device, mtu); !set) {
        log_warning("KERNEL_MTU_NOT_SET", "{}", to_string(set.error()));
    }
}

void KernelClient::expire() {
    if (!tunnel_ || tunnel_->is_closed || clock_.wall() < tunnel_->spec.expires_at) return;
    // Addresses and routes are the owner's to take away.
    if (const auto closed = let_pass(false); !closed) {
        log_warning("KERNEL_EXPIRY_FAILED", "{}", to_string(closed.error()));
        tunnel_->is_closed = true;  // said once
    }
}

void KernelClient::forget() {
    if (!tunnel_) return;
    if (const auto removed = host_.links.remove(tunnel_->device); !removed) {
        log_warning("KERNEL_CLEANUP_FAILED", "{}", to_string(removed.error()));
    }
    tunnel_.reset();
}

}  // namespace

Result<std::unique_ptr<DataPlane>> make_kernel_client(const std::string& device,
                                                      const Clock& clock) {
    auto held = hold_device(device);
    if (!held) return tl::unexpected(held.error());
    auto host = KernelHost::open();
    if (!host) return tl::unexpected(host.error());
    return std::make_unique<KernelClient>(device, clock, std::move(*host), std::move(*held));
}

}  // namespace dstm::dataplane
