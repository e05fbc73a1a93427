// Kea in memory: the leases, by the rules of ports.hpp and docs/wire/kea-stream.md, and one
// server's connection to it as a LeaseStore. Leases live on when a server dies.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "dstm-server/ports.hpp"
#include "support/scheduler.hpp"
#include "support/wire.hpp"

namespace dstm::support {

class MemoryLeaseStore;

class MemoryKea {
public:
    MemoryKea(Scheduler& scheduler, Ipv4Address first, std::size_t size)
        : scheduler_(scheduler), first_(first), size_(size) {}

    std::map<Ipv4Address, server::Lease> leases;
    std::uint32_t default_lifetime_s = 3600;

    // What the hook does for each command.
    [[nodiscard]] Result<server::Lease> allocate(const server::LeaseRequest& request);
    [[nodiscard]] Result<server::Lease> renew(Ipv4Address address,
                                              const server::LeaseRequest& request);
    [[nodiscard]] Result<void> release(Ipv4Address address, const server::ClientId& client_id,
                                       Generation up_to);
    [[nodiscard]] std::vector<server::Lease> list() const;

    // What happens by itself; every connected server is told.
    void end(Ipv4Address address, server::LeaseEnd why);
    void reclaim_expired();

    // Down: connections are lost, leases stay as in the lease file.
    void stop();
    void start();
    [[nodiscard]] bool is_running() const { return is_running_; }

private:
    friend class MemoryLeaseStore;
    void grant(server::Lease& lease, const server::LeaseRequest& request) const;

    Scheduler& scheduler_;
    Ipv4Address first_;
    std::size_t size_;
    bool is_running_ = true;
    std::vector<MemoryLeaseStore*> connections_;
};

class MemoryLeaseStore final : public server::LeaseStore {
public:
    MemoryLeaseStore(Scheduler& scheduler, MemoryKea& kea, const Fates& fates);
    ~MemoryLeaseStore() override;

    // Connects when Kea runs, and tells the listener.
    void connect();
    void disconnect();
    // At the death of the server: what was sent is carried out.
    void let_requests_survive() { wire_.let_effects_survive(); }

    void set_listener(server::LeaseListener* listener) override { listener_ = listener; }
    void allocate(const server::LeaseRequest& request, server::Done<server::Lease> done) override;
    void renew(Ipv4Address address, const server::LeaseRequest& request,
               server::Done<server::Lease> done) override;
    void release(Ipv4Address address, const server::ClientId& client_id, Generation up_to,
                 server::Done<void> done) override;
    void list(server::Done<std::vector<server::Lease>> done) override;

private:
    friend class MemoryKea;
    void tell(const server::Lease& lease, server::LeaseEnd why);
    template <class T>
    void submit(std::string_view operation, std::function<Result<T>()> effect,
                server::Done<T> done);

    Scheduler& scheduler_;
    MemoryKea& kea_;
    Wire wire_;
    server::LeaseListener* listener_ = nullptr;
    bool is_connected_ = false;
    std::uint64_t connection_ = 0;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace dstm::support
