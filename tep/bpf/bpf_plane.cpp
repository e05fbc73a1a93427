// Programs, tables and slow path put together, and the thread that follows the host.
#include "tep/bpf/bpf_plane.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/assert.hpp"
#include "common/dataplane/netlink.hpp"
#include "common/dataplane/tun_device.hpp"
#include "common/dataplane/tun_plane.hpp"
#include "common/log/log.hpp"
#include "tep/bpf/entrances.hpp"
#include "tep/bpf/entry_table.hpp"
#include "tep/bpf/firewall.hpp"
#include "tep/bpf/host_follower.hpp"
#include "tep/bpf/host_network.hpp"
#include "tep/bpf/ipv6_table.hpp"
#include "tep/bpf/learned_mtus.hpp"
#include "tep/bpf/left_behind.hpp"
#include "tep/bpf/next_hops.hpp"
#include "tep/bpf/pins.hpp"
#include "tep/bpf/plane_start.hpp"
#include "tep/bpf/programs.hpp"
#include "tep/bpf/refusals.hpp"
#include "tep/bpf/tc_hook.hpp"
#include "tep/bpf/ticks.hpp"

namespace dstm::tep::bpf {
namespace {

using dataplane::DataPlane;
using dataplane::Descriptor;
using dataplane::DropCounters;
using dataplane::InstalledTunnel;
using dataplane::Netlink;
using dataplane::TunDevice;
using dataplane::TunnelCounters;

constexpr Duration housekeeping_interval(1000);
constexpr Duration look_interval(5000);

// Of the inner packets of a family.
struct Path {
    bool is_straight = false;
    std::string how;
};

class BpfPlane final : public DataPlane {
public:
    BpfPlane(const BpfPlaneConfig& config, const Clock& clock, std::optional<Pins> pins,
             Programs programs, Netlink netlink, HostNetwork network)
        : config_(config),
          clock_(clock),
          pins_(std::move(pins)),
          programs_(std::move(programs)),
          netlink_(std::move(netlink)),
          network_(std::move(network)) {}
    ~BpfPlane() override;

    // `goes_on`: an earlier plane left what carries, and it shall stay so if this fails.
    [[nodiscard]] Result<void> start(TunDevice device, const Migrated& migrated, bool goes_on);
    // It has come so far in start() that the pools lead to it.
    [[nodiscard]] bool has_pools() const { return slow_path_ != nullptr; }

    [[nodiscard]] std::string_view name() const override { return "bpf"; }
    [[nodiscard]] Result<void> add(const TunnelSpec& spec) override;
    [[nodiscard]] Result<void> remove(const IpAddress& inner, Generation up_to) override;
    [[nodiscard]] std::vector<InstalledTunnel> list() const override;
    [[nodiscard]] std::vector<TunnelCounters> counters(
        std::span<const IpAddress> inner) const override;
    [[nodiscard]] DropCounters drops() const override;
    [[nodiscard]] Result<void> send_tsp(const IpEndpoint& peer, ConstBytes datagram) override {
        return slow_path_->send_tsp(peer, datagram);
    }

private:
    [[nodiscard]] Result<void> open_tables();
    void stop_use_of_places();
    [[nodiscard]] Result<void> make_slow_path(TunDevice device);
    [[nodiscard]] Result<void> restore(const Migrated& migrated);
    [[nodiscard]] Result<void> take_over(const Migrated& migrated);
    [[nodiscard]] TunnelSpec spec_of(const TunnelView& view) const;
    [[nodiscard]] TunnelSpec spec_of(const Ipv6TunnelView& view) const;
    [[nodiscard]] bool adopt(const TunnelSpec& spec);
    [[nodiscard]] Result<void> put_in_maps(const TunnelSpec& spec);
    void restore_beneath(const TunnelSpec& refused);
    [[nodiscard]] Result<void> remove_from_maps(const IpAddress& inner, Generation up_to);
    [[nodiscard]] Result<void> attach();
    [[nodiscard]] Result<void> guard_exit();
    void leave_word();
    [[nodiscard]] std::optional<SeenEntry> find(const IpAddress& inner) const;
    void add_counted(const IpAddress& inner, TunnelCounters& counters) const;
    [[nodiscard]] Way way_to(const Ipv6Address& client);
    [[nodiscard]] Path path_of(ForwardFamily family) const;
    void choose_path();
    void run();
    void look_at_counters();
    [[nodiscard]] NextHops::Used used_hops() const;
    void learn(const IpAddress& far_end, std::uint32_t mtu);
    void tell_mtu(const IpAddress& far_end);
    void set_ways();

    BpfPlaneConfig config_;
    const Clock& clock_;
    std::optional<Pins> pins_;
    Programs programs_;

    mutable std::mutex mutex_;  // guards what follows, up to the thread
    Netlink netlink_;
    HostNetwork network_;
    std::optional<EntryTable> table_;
    std::optional<Ipv6Table> ipv6_table_;
    mutable std::optional<Refusals> refusals_;
    std::optional<NextHops> next_hops_;
    LearnedMtus learned_mtus_;
    std::optional<Entrances> entrances_;
    std::optional<HostFollower> follower_;
    Instant look_at_;  // at the counters again
    int device_index_ = 0;
    bool stays_ = false;  // when this object goes

    std::mutex news_mutex_;  // taken by the slow path's thread; never with mutex_ inside
    std::vector<std::pair<IpAddress, std::uint32_t>> mtu_news_;

    std::unique_ptr<DataPlane> slow_path_;  // its own locks; the device is its
    std::optional<TcHook> exit_;
    std::optional<std::uint32_t> straight_;  // the thread's, once it runs
    Descriptor wake_;
    std::atomic<bool> stopping_ = false;
    std::thread thread_;
};

BpfPlane::~BpfPlane() {
    stopping_ = true;
    if (wake_.is_open()) static_cast<void>(::eventfd_write(wake_.number(), 1));
    if (thread_.joinable()) thread_.join();
    if (stays_ && entrances_) entrances_->leave();
    if (stays_ && exit_) exit_->leave();
    // From the outside in: first nothing new comes, then the device goes.
    entrances_.reset();
    exit_.reset();
    slow_path_.reset();
}

Result<void> BpfPlane::start(TunDevice tun, const Migrated& migrated, bool goes_on) {
    stays_ = goes_on;
    wake_ = Descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake_.is_open()) return tl::unexpected(error_from_errno(errno, "eventfd"));
    if (auto opened = open_tables(); !opened) return opened;
    if (auto made = make_slow_path(std::move(tun)); !made) return made;
    const auto device = netlink_.interface_index(config_.device);
    if (!device) return tl::unexpected(device.error());
    device_index_ = *device;
    if (auto taken = take_over(migrated); !taken) return taken;
    if (config_.lasting) leave_word();
    if (auto attached = attach(); !attached) return attached;
    stays_ = config_.lasting;
    thread_ = std::thread([this] { run(); });
    return {};
}

// The tables are complete when the first packet meets these programs.
Result<void> BpfPlane::attach() {
    network_.ignore_routes_by(device_index_);
    programs_.set_tunnel_device(device_index_);
    choose_path();
    entrances_.emplace(config_, programs_, pins_ ? &*pins_ : nullptr, netlink_, network_,
                       device_index_);
    follower_.emplace(clock_, programs_, network_, *next_hops_, *entrances_, device_index_,
                      HostFollower::Plane{[this] { return used_hops(); }, [this] { set_ways(); },
                                          [this] { return guard_exit(); }});
    if (auto guarded = follower_->guard(); !guarded) return guarded;
    next_hops_->forget_earlier();
    return {};
}

Result<void> BpfPlane::guard_exit() {
    if (exit_ && exit_->stands()) return {};
    auto hook = TcHook::attach(
        {device_index_, TcDirection::egress, tc_handle_of(config_.device), true},
        programs_.down());
    if (!hook) return tl::unexpected(hook.error());
    if (exit_) exit_->leave();  // it is not there any more
    exit_ = std::move(*hook);
    return {};
}

Result<void> BpfPlane::restore(const Migrated& migrated) {
    for (auto tunnel : migrated.tunnels) {
        if (table_->holds(tunnel.inner)) continue;
        tunnel.entry.next_hop = 0;
        const auto restored = table_->restore(tunnel.inner, tunnel.entry, tunnel.record);
        if (!restored) return restored;
    }
    for (const auto& tunnel : migrated.ipv6_tunnels) {
        if (auto restored = ipv6_table_->restore(tunnel.entry, tunnel.record); !restored) {
            return restored;
        }
    }
    return {};
}

// The slow path is new in each process and learns all tunnels; so do the next hops.
Result<void> BpfPlane::take_over(const Migrated& migrated) {
    if (auto restored = restore(migrated); !restored) return restored;
    std::vector<std::pair<Ipv4Address, Ipv6Address>> ways;
    ways.reserve(table_->size());
    std::vector<std::pair<IpAddress, Generation>> refused;
    table_->for_each([&](const TunnelView& view) {
        if (!adopt(spec_of(view))) {
            refused.emplace_back(view.inner, view.record.generation);
            return;
        }
        const auto peer = peer_of(view.entry);
        if (view.entry.path_mtu != 0) learned_mtus_.learn(peer, view.entry.path_mtu, clock_.now());
        ways.emplace_back(view.inner, peer);
    });
    for (const auto& [inner, peer] : ways) table_->set_way(inner, way_to(peer));
    auto adopted = ways.size();
    ipv6_table_->for_each([&](const Ipv6TunnelView& view) {
        if (!adopt(spec_of(view))) {
            refused.emplace_back(view.inner, view.record.lease.generation);
            return;
        }
        if (view.entry.path_mtu != 0) {
            learned_mtus_.learn(view.client().address, view.entry.path_mtu, clock_.now());
        }
        ++adopted;
    });
    for (const auto& [inner, generation] : refused) {
        static_cast<void>(remove_from_maps(inner, generation));
    }
    if (adopted != 0) {
        log_info("BPF_ADOPTED", "device={} tunnels={} {}", config_.device, adopted,
                 migrated.is_empty() ? "in their maps" : "from maps of another form");
    }
    return {};
}

bool BpfPlane::adopt(const TunnelSpec& spec) {
    const auto added = slow_path_->add(spec);
    if (added) return true;
    log_warning("BPF_NOT_ADOPTED", "inner={} {}", to_string(spec.inner), to_string(added.error()));
    return false;
}

TunnelSpec BpfPlane::spec_of(const Ipv6TunnelView& view) const {
    TunnelSpec spec;
    spec.outer_client = view.client();
    spec.type = spec.outer_client.port == 0 ? TunnelType::v6v4 : TunnelType::v6udpv4;
    spec.inner = view.inner;
    spec.inner_prefix = view.prefix();
    spec.outer_server = *config_.outer_ipv4;
    spec.generation = view.record.lease.generation;
    spec.expires_at = from_unix(view.record.lease.expires_at);
    return spec;
}

TunnelSpec BpfPlane::spec_of(const TunnelView& view) const {
    TunnelSpec spec;
    spec.inner = view.inner;
    spec.outer_client = {peer_of(view.entry), 0};
    spec.outer_server = config_.outer;
    spec.generation = view.record.generation;
    spec.expires_at = from_unix(view.record.expires_at);
    return spec;
}

// Before anything is attached: what a killed process leaves on interfaces is in maps that can be
// found. Without pins they still live as long as the program on the device's hook.
void BpfPlane::leave_word() {
    auto done = programs_.bind_maps();
    if (done) done = write_meta(programs_);
    if (done && pins_) done = programs_.pin(*pins_);
    if (done) return;
    log_warning("BPF_NOT_PINNED", "device={} {}", config_.device, to_string(done.error()));
}

Result<void> BpfPlane::open_tables() {
    auto table = EntryTable::open(programs_);
    if (!table) return tl::unexpected(table.error());
    table_.emplace(std::move(*table));
    auto ipv6_table = Ipv6Table::open(programs_);
    if (!ipv6_table) return tl::unexpected(ipv6_table.error());
    ipv6_table_.emplace(std::move(*ipv6_table));
    auto refusals = Refusals::open(programs_);
    if (!refusals) return tl::unexpected(refusals.error());
    refusals_.emplace(std::move(*refusals));
    auto next_hops = NextHops::open(programs_, network_, used_hops());
    if (!next_hops) return tl::unexpected(next_hops.error());
    next_hops_.emplace(std::move(*next_hops));
    stop_use_of_places();
    return {};
}

// Until they are led anew, their packets are sent by the slow path.
void BpfPlane::stop_use_of_places() {
    table_->for_each([&](const TunnelView& view) {
        if (!next_hops_->is_ours(view.entry.next_hop)) return;
        table_->set_way(view.inner, {0, view.entry.path_mtu});
    });
}

Result<void> BpfPlane::make_slow_path(TunDevice device) {
    dataplane::TunPlaneConfig config;
    config.device = config_.device;
    config.outer = config_.outer;
    config.inner = config_.inner;
    config.pools = config_.pools;
    config.outer_ipv4 = config_.outer_ipv4;
    config.inner_ipv6 = config_.inner_ipv6;
    config.pools_ipv6 = config_.pools_ipv6;
    config.udp_port = config_.udp_port;
    config.tsp_datagram = config_.tsp_datagram;
    config.hairpin = config_.hairpin;
    config.mss_clamp = config_.mss_clamp;
    config.tunnels_max = config_.tunnels_max;
    config.keep_gro = true;
    config.outside_pools = true;
    config.keep_device = config_.lasting;
    config.path_mtu_lowered = [this](const IpAddress& far_end, std::uint32_t mtu) {
        const std::lock_guard lock(news_mutex_);
        mtu_news_.emplace_back(far_end, mtu);
        static_cast<void>(::eventfd_write(wake_.number(), 1));
    };
    config.device_gone = config_.device_gone;
    auto made = dataplane::make_tun_plane_on(std::move(device), config, clock_);
    if (!made) return tl::unexpected(made.error());
    slow_path_ = std::move(*made);
    return {};
}

Way BpfPlane::way_to(const Ipv6Address& client) {
    return {next_hops_->to(client), learned_mtus_.of(client)};
}

// The slow path checks the spec and knows the tunnel first: a packet that the programs leave to it
// in the middle of a change is carried.
Result<void> BpfPlane::add(const TunnelSpec& spec) {
    const std::lock_guard lock(mutex_);
    if (auto added = slow_path_->add(spec); !added) return added;
    auto put = put_in_maps(spec);
    if (!put) restore_beneath(spec);
    return put;
}

Result<void> BpfPlane::put_in_maps(const TunnelSpec& spec) {
    const auto expires = tick_at(spec.expires_at, clock_);
    if (spec.type != TunnelType::v4v6) {
        return ipv6_table_->put(spec, expires, learned_mtus_.of(spec.outer_client.address));
    }
    const auto& client = std::get<Ipv6Address>(spec.outer_client.address);
    auto put = table_->put(spec, way_to(client), expires);
    next_hops_->tunnel_left();  // perhaps another place, when it moved
    if (next_hops_->has_new_interface()) static_cast<void>(::eventfd_write(wake_.number(), 1));
    return put;
}

// The maps, which have refused it, hold what was before.
void BpfPlane::restore_beneath(const TunnelSpec& refused) {
    static_cast<void>(slow_path_->remove(refused.inner, refused.generation));
    const auto put_back = [&](const auto& view) {
        if (IpAddress(view.inner) != refused.inner) return;
        static_cast<void>(slow_path_->add(spec_of(view)));
    };
    refused.type == TunnelType::v4v6 ? table_->for_each(put_back)
                                     : ipv6_table_->for_each(put_back);
}

Result<void> BpfPlane::remove(const IpAddress& inner, Generation up_to) {
    const std::lock_guard lock(mutex_);
    const auto removed = remove_from_maps(inner, up_to);
    return removed ? slow_path_->remove(inner, up_to) : removed;
}

Result<void> BpfPlane::remove_from_maps(const IpAddress& inner, Generation up_to) {
    const auto* address = std::get_if<Ipv4Address>(&inner);
    if (address == nullptr) return ipv6_table_->remove(std::get<Ipv6Address>(inner), up_to);
    next_hops_->tunnel_left();
    return table_->remove(*address, up_to);
}

std::vector<InstalledTunnel> BpfPlane::list() const {
    const std::lock_guard lock(mutex_);
    auto out = slow_path_->list();  // with what it carried itself
    for (auto& [spec, counters] : out) add_counted(spec.inner, counters);
    return out;
}

std::vector<TunnelCounters> BpfPlane::counters(std::span<const IpAddress> inner) const {
    const std::lock_guard lock(mutex_);
    auto out = slow_path_->counters(inner);
    for (std::size_t i = 0; i < inner.size(); ++i) add_counted(inner[i], out[i]);
    return out;
}

void BpfPlane::add_counted(const IpAddress& inner, TunnelCounters& counters) const {
    const auto entry = find(inner);
    if (!entry) return;
    counters.packets_up += entry->packets_up;
    counters.bytes_up += entry->bytes_up;
    counters.packets_down += entry->packets_down;
    counters.bytes_down += entry->bytes_down;
    counters.last_seen_up = std::max(counters.last_seen_up, wall_of_tick(entry->last_seen, clock_));
    counters.last_seen_down =
        std::max(counters.last_seen_down, wall_of_tick(entry->last_seen_down, clock_));
}

std::optional<SeenEntry> BpfPlane::find(const IpAddress& inner) const {
    if (const auto* ipv4 = std::get_if<Ipv4Address>(&inner)) return table_->find(*ipv4);
    return ipv6_table_->find(std::get<Ipv6Address>(inner));
}

DropCounters BpfPlane::drops() const {
    const std::lock_guard lock(mutex_);
    auto out = slow_path_->drops();
    const auto counts = read_drops(programs_);
    for (std::size_t i = DSTM_DROP_NONE + 1; i < counts.size(); ++i) {
        out[std::string(name_of(static_cast<dstm_drop>(i)))] += counts[i];
    }
    refusals_->take(*table_, *ipv6_table_);
    const auto& refused = refusals_->counts();
    out["unknown_outer"] += refused.unknown_outer;
    out["unknown_inner"] += refused.unknown_inner;
    out["spoofed_inner"] += refused.spoofed_inner;
    out["spoofed_outer"] += refused.spoofed_outer;
    return out;
}

Path BpfPlane::path_of(ForwardFamily family) const {
    if (!is_forwarding(family)) return {false, "through the kernel's routing, which forwards none"};
    if (config_.shortcut == Shortcut::automatic) {
        const auto answer = forward_hook(family);
        return {answer.hook == ForwardHook::empty, way_on(answer)};
    }
    const bool is_straight = config_.shortcut != Shortcut::none;
    return {is_straight, is_straight ? "straight from interface to interface, as configured"
                                     : "through the kernel's routing, as configured"};
}

// A firewall that comes later is seen within a second.
void BpfPlane::choose_path() {
    const auto ipv4 = path_of(ForwardFamily::ipv4);
    const auto ipv6 = config_.outer_ipv4 ? path_of(ForwardFamily::ipv6) : Path{};
    const std::uint32_t straight = (ipv4.is_straight ? DSTM_STRAIGHT_IPV4 : 0) |
                                   (ipv6.is_straight ? DSTM_STRAIGHT_IPV6 : 0);
    if (straight == straight_) return;
    straight_ = straight;
    programs_.set_straight(straight);
    log_info("BPF_PATH", "IPv4 packets go {}", ipv4.how);
    if (config_.outer_ipv4) log_info("BPF_PATH", "IPv6 packets go {}", ipv6.how);
}

void BpfPlane::run() {
    std::array<pollfd, 2> waits{
        {{wake_.number(), POLLIN, 0}, {network_.news_descriptor(), POLLIN, 0}}};
    while (!stopping_) {
        ::poll(waits.data(), waits.size(),
               static_cast<int>(follower_->wait(housekeeping_interval).count()));
        if (stopping_) return;
        eventfd_t ignored = 0;
        static_cast<void>(::eventfd_read(wake_.number(), &ignored));
        follower_->read_routes(mutex_);
        choose_path();
        const std::lock_guard lock(mutex_);
        refusals_->take(*table_, *ipv6_table_);
        look_at_counters();
        follower_->follow();
        std::vector<std::pair<IpAddress, std::uint32_t>> lowered;
        {
            const std::lock_guard news_lock(news_mutex_);
            lowered.swap(mtu_news_);
        }
        for (const auto& [far_end, mtu] : lowered) learn(far_end, mtu);
        // RFC 8201 s5.3: after a while a larger packet is tried again.
        for (const auto& far_end : learned_mtus_.forget_old(clock_.now())) tell_mtu(far_end);
    }
}

// To know when packets went down. Of a million tunnels it takes some milliseconds.
void BpfPlane::look_at_counters() {
    if (clock_.now() < look_at_) return;
    look_at_ = clock_.now() + look_interval;
    table_->look(tick_now());
    ipv6_table_->look(tick_now());
}

void BpfPlane::learn(const IpAddress& far_end, std::uint32_t mtu) {
    learned_mtus_.learn(far_end, static_cast<std::uint16_t>(std::min(mtu, 0xffffU)), clock_.now());
    tell_mtu(far_end);
}

void BpfPlane::tell_mtu(const IpAddress& far_end) {
    if (const auto* ipv6 = std::get_if<Ipv6Address>(&far_end)) {
        if (table_->leads_to(*ipv6)) table_->set_way(*ipv6, way_to(*ipv6));
    } else {
        ipv6_table_->set_path_mtu(std::get<Ipv4Address>(far_end), learned_mtus_.of(far_end));
    }
}

NextHops::Used BpfPlane::used_hops() const {
    NextHops::Used used;
    table_->for_each([&](const TunnelView& view) {
        used[view.entry.next_hop % used.size()] = true;
    });
    return used;
}

void BpfPlane::set_ways() {
    table_->for_each([&](const TunnelView& view) {
        table_->set_way(view.inner, way_to(peer_of(view.entry)));
    });
}

}  // namespace

Result<std::unique_ptr<DataPlane>> make_bpf_plane(const BpfPlaneConfig& config,
                                                  const Clock& clock) {
    // First: who has it is alone with all that was left.
    auto device = TunDevice::create(config.device, config.lasting);
    if (!device) return tl::unexpected(device.error());
    const auto settings = settings_of(config);
    auto pins = open_pins(config);
    auto left = find_left(config, pins);
    if (!left) return tl::unexpected(left.error());
    const auto migrated = to_migrate(*left, settings);
    if (!migrated) return tl::unexpected(migrated.error());
    const bool is_first = left->meta.version == 0;
    if (!left->is_usable_for(settings)) left->keep_hooks_and_drops();
    auto programs = Programs::load(settings, left->maps);
    if (!programs) return tl::unexpected(programs.error());
    auto netlink = Netlink::open();
    if (!netlink) return tl::unexpected(netlink.error());
    auto network = HostNetwork::open();
    if (!network) return tl::unexpected(network.error());
    auto plane = std::make_unique<BpfPlane>(config, clock, std::move(pins), std::move(*programs),
                                            std::move(*netlink), std::move(*network));
    const auto started = plane->start(std::move(*device), *migrated, config.lasting && !is_first);
    if (!started) {
        // The pools may be those of another daemon.
        std::vector<dataplane::IpPrefix> pools;
        if (plane->has_pools()) {
            pools.assign(config.pools.begin(), config.pools.end());
            pools.insert(pools.end(), config.pools_ipv6.begin(), config.pools_ipv6.end());
        }
        plane.reset();
        // What was left and carries goes on carrying; what is only half made goes.
        if (is_first) static_cast<void>(detach(config.device, pools));
        return tl::unexpected(started.error());
    }
    return plane;
}

}  // namespace dstm::tep::bpf
