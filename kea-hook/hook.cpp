// See the header.
#include "kea-hook/hook.hpp"

#include <dhcp/iface_mgr.h>
#include <util/multi_threading_mgr.h>

#include "kea-hook/json_line.hpp"
#include "kea-hook/kea_values.hpp"
#include "kea-hook/log.hpp"
#include "kea-hook/operator_commands.hpp"

namespace dstm::kea {

namespace {

using isc::data::ConstElementPtr;
using isc::data::Element;
using isc::data::ElementPtr;
using isc::dhcp::IfaceMgr;

constexpr int protocol_version = 1;

const char* event_name(EndingKind kind) {
    switch (kind) {
        case EndingKind::expired: return "lease-expired";
        case EndingKind::released: return "lease-released";
        case EndingKind::declined: return "lease-declined";
        case EndingKind::deleted: return "lease-deleted";
        case EndingKind::recovered:
        case EndingKind::changed:
        case EndingKind::unknown: break;
    }
    return "resync";
}

}  // namespace

// One line of a connection.
class Hook::Request : public Stream::Work {
public:
    Request(Hook& hook, ConnectionId connection, const std::string& line) : hook_(hook) {
        ++hook_.requests_;
        auto request = read_json_line(line);
        if (!request || (*request)->getType() != Element::map) {
            const std::string why = request ? "a request must be a map" : request.error().context;
            reply_ = to_reply({Reason::bad_request, why});
            return;
        }
        id_ = (*request)->get("id");
        const auto name = (*request)->get("command");
        if (!name || name->getType() != Element::string) {
            reply_ = to_reply({Reason::bad_request, "'command' must be a string"});
            return;
        }
        task_ =
            hook_.commands_.start(name->stringValue(), (*request)->get("arguments"), connection);
    }

    bool step(std::string& out) override {
        if (!reply_) reply_ = task_->step();
        if (!reply_) return false;
        // A lease that ended inside an allocation is told before the allocation's answer.
        hook_.deliver_endings();
        const ElementPtr answer = to_element(*reply_);
        answer->set("id", id_ ? id_ : ConstElementPtr(Element::create()));
        append_json(out, answer);
        return true;
    }

private:
    Hook& hook_;
    ConstElementPtr id_;
    std::unique_ptr<Task> task_;
    std::optional<Reply> reply_;
};

Hook::Hook(int family)
    : store_(family),
      endings_([this] { stream_->wake(); }),
      policy_(store_, endings_),
      commands_(store_, policy_, serving_, [this](const ElementPtr& map) {
          map->set("protocol", Element::create(protocol_version));
          map->set("connections", Element::create(static_cast<long long>(stream_->connections())));
          map->set("requests", Element::create(static_cast<long long>(requests_)));
          map->set("events-sent", Element::create(static_cast<long long>(events_sent_)));
      }) {}

Result<std::unique_ptr<Hook>> Hook::start(const Parameters& parameters, int family) {
    std::unique_ptr<Hook> hook(new Hook(family));
    Hook& self = *hook;
    Stream::Handlers handlers;
    handlers.greet = [&self](ConnectionId id) { return self.greeting(id); };
    handlers.start = [&self](ConnectionId id, const std::string& line) {
        return std::make_unique<Request>(self, id, line);
    };
    handlers.closed = [&self](ConnectionId id) { self.sequences_.erase(id); };
    handlers.woken = [&self] { self.deliver_endings(); };
    // One stop of the packet threads for a turn, not one for each command.
    handlers.hold = [] { return std::make_shared<isc::util::MultiThreadingCriticalSection>(); };
    auto stream = Stream::open(parameters.socket_name, parameters.socket_mode, std::move(handlers));
    if (!stream) {
        return fail(stream.error().code, "parameter 'socket-name': " + stream.error().context);
    }
    self.stream_ = *std::move(stream);
    IfaceMgr::instance().addExternalSocket(self.stream_->fd(), [&self](int) {
        try {
            self.stream_->on_ready();
        } catch (const std::exception& error) {
            LOG_ERROR(hook_logger, DSTM_CALLOUT_FAILED).arg("socket").arg(error.what());
        }
    });
    return hook;
}

Hook::~Hook() {
    if (stream_) IfaceMgr::instance().deleteExternalSocket(stream_->fd());
}

void Hook::configured(const isc::dhcp::NetworkStatePtr& network_state) {
    serving_.set_network_state(network_state);
    endings_.push({EndingKind::unknown});
}

Reply Hook::control_command(const std::string& name, const ConstElementPtr& arguments) {
    ++requests_;
    return commands_.run(name, arguments, no_connection);
}

void Hook::command_processed(const std::string& name, const ConstElementPtr& arguments,
                             const ConstElementPtr& response) {
    follow_operator_command(name, arguments, response, store_, endings_);
}

void Hook::lease_ended(EndingKind kind, const isc::dhcp::Lease& row) {
    const auto copy = copy_of(row);  // Kea may change its object after the callout
    endings_.push({kind, is_prefix(row) ? ClientLease{{}, copy} : ClientLease{copy, {}}});
}

std::string Hook::greeting(ConnectionId id) {
    sequences_[id] = 0;
    ElementPtr arguments = Element::createMap();
    arguments->set("protocol", Element::create(protocol_version));
    arguments->set("family", Element::create(store_.family() == AF_INET ? 4 : 6));
    return event_line(id, "hello", arguments);
}

std::string Hook::event_line(ConnectionId id, const std::string& name,
                             const ElementPtr& arguments) {
    ElementPtr event = Element::createMap();
    event->set("event", Element::create(name));
    event->set("sequence", Element::create(static_cast<long long>(++sequences_[id])));
    event->set("arguments", arguments);
    std::string line;
    append_json(line, event);
    return line;
}

void Hook::deliver_endings() {
    bool resync = false;
    bool relearn = false;
    for (const auto& ending : endings_.take()) {
        if (ending.kind == EndingKind::unknown) relearn = true;
        if (ending.kind == EndingKind::changed) resync = true;
        if (ending.lease.address || ending.lease.prefix) deliver(ending);
    }
    if (relearn) {
        policy_.free_addresses().forget();
        learn_again();
    }
    if (relearn || resync) broadcast("resync", Element::createMap(), no_connection);
}

void Hook::learn_again() {
    try {
        store_.learn_ours();
    } catch (const std::exception& error) {
        LOG_ERROR(hook_logger, DSTM_CALLOUT_FAILED).arg("reading the leases").arg(error.what());
    }
}

void Hook::deliver(const Ending& ending) {
    const RowPtr& row = ending.lease.address ? ending.lease.address : ending.lease.prefix;
    policy_.freed(*row);
    if (ending.kind == EndingKind::recovered || !is_ours(*row)) return;
    try {
        // What the packet threads do with the row is done before we look.
        const isc::util::MultiThreadingCriticalSection no_packet_threads;
        ending.lease.address ? deliver_end_of_address(ending) : deliver_end_of_prefix(ending);
    } catch (const std::exception& error) {
        LOG_ERROR(hook_logger, DSTM_CALLOUT_FAILED).arg("the end of a lease").arg(error.what());
    }
}

// It may have been given again before we are told that it had ended.
bool Hook::is_given_again(const isc::dhcp::Lease& row) const {
    const auto now = is_prefix(row) ? store_.database().find_prefix(row.addr_)
                                    : store_.database().find_address(row.addr_);
    return now && is_live(*now) && is_ours(*now) && client_id_of(*now) == client_id_of(row);
}

void Hook::deliver_end_of_address(const Ending& ending) {
    ClientLease lease = ending.lease;
    const auto& row = *lease.address;
    const auto known = store_.ours(row.addr_);
    const bool same = known.address && client_id_of(*known.address) == client_id_of(row);
    if (same && !lease.prefix) lease.prefix = known.prefix;
    if (!is_given_again(row)) {
        if (same) store_.forget(row.addr_);
        if (lease.prefix) policy_.end_rest(lease.prefix);
    }
    broadcast(event_name(ending.kind), lease_to_element(lease), ending.cause);
}

// The address speaks for the lease: if it is there no longer, its own end is told, or was.
void Hook::deliver_end_of_prefix(const Ending& ending) {
    const auto& prefix = ending.lease.prefix;
    const auto known = store_.ours_with_prefix(prefix->addr_);
    if (!known.address || client_id_of(*known.address) != client_id_of(*prefix)) return;
    if (is_given_again(*prefix) || !is_given_again(*known.address)) return;
    store_.forget(known.address->addr_);
    policy_.end_rest(known.address);
    broadcast(event_name(ending.kind), lease_to_element(known), ending.cause);
}

void Hook::broadcast(const std::string& name, const ElementPtr& arguments, ConnectionId except) {
    stream_->for_each([&](ConnectionId id) {
        if (id == except) return;
        stream_->send(id, event_line(id, name, arguments));
        ++events_sent_;
    });
}

}  // namespace dstm::kea
