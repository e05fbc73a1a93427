// See the header. RFC 2131 s4.3.2: to Kea each request looks like a DHCPREQUEST of a client that
// names the address, or leaves the choice to the server.
#include "kea-hook/policy.hpp"

#include <algorithm>

#include <boost/algorithm/string/case_conv.hpp>

#include <dhcp/classify.h>
#include <dhcp/option_int.h>
#include <dhcp/option_string.h>
#include <dhcpsrv/cfgmgr.h>
#include <dhcpsrv/ncr_generator.h>
#include <dhcpsrv/shared_network.h>
#include <eval/evaluate.h>
#include <hooks/hooks_manager.h>

#include "kea-hook/dstm_query.hpp"
#include "kea-hook/kea_compat.hpp"

namespace dstm::kea {

using isc::asiolink::IOAddress;
using isc::dhcp::AllocEngine;
using isc::dhcp::CfgMgr;
using isc::dhcp::ClientId;
using isc::dhcp::Lease;
using isc::dhcp::Lease4;
using isc::dhcp::Lease4Collection;
using isc::dhcp::Lease4CollectionPtr;
using isc::dhcp::Lease4Ptr;
using isc::dhcp::Option;
using isc::dhcp::Pkt4Ptr;
using isc::hooks::CalloutHandle;
using isc::hooks::HooksManager;

namespace {

// Candidates of one pool that Kea may refuse (reserved for others, taken this moment) before the
// pool counts as exhausted for this request.
constexpr int candidates_max = 64;
// Addresses that Kea's engine looks at on its own after ours were refused.
constexpr std::uint64_t engine_attempts_max = 16;

constexpr const char* vendor_class = "dstm";

// As kea-dhcp4 does for a packet: all classes whose expression is true, in the order of the
// configuration; those that ask for KNOWN or UNKNOWN in a second pass.
void add_configured_classes(const Pkt4Ptr& query, bool depend_on_known) {
    const auto dictionary = CfgMgr::instance().getCurrentCfg()->getClientClassDictionary();
    for (const auto& definition : *dictionary->getClasses()) {
        const auto& expression = definition->getMatchExpr();
        if (!expression || definition->getRequired()) continue;
        if (definition->getDependOnKnown() != depend_on_known) continue;
        try {
            if (isc::dhcp::evaluateBool(*expression, *query))
                query->addClass(definition->getName());
        } catch (const isc::Exception&) {
            // An expression that cannot be evaluated for this message is false, as in Kea.
        }
    }
}

DstmQueryPtr make_query(const LeaseRequest& request) {
    const auto query = boost::make_shared<DstmQuery>(request.client_id, request.user_context);
    query->setHWAddr(hardware_address_of(request.client_id));
    query->addOption(boost::make_shared<Option>(Option::V4, isc::dhcp::DHO_DHCP_CLIENT_IDENTIFIER,
                                                request.client_id));
    query->addOption(boost::make_shared<isc::dhcp::OptionString>(
        Option::V4, isc::dhcp::DHO_VENDOR_CLASS_IDENTIFIER, vendor_class));
    if (request.valid_lifetime_s != 0) {
        query->addOption(boost::make_shared<isc::dhcp::OptionUint32>(
            Option::V4, isc::dhcp::DHO_DHCP_LEASE_TIME, request.valid_lifetime_s));
    }
    query->addClass("ALL");
    query->addClass(std::string("VENDOR_CLASS_") + vendor_class);
    for (const auto& name : request.classes) query->addClass(name);
    add_configured_classes(query, false);
    return query;
}

// leases4_committed, as kea-dhcp4 calls it for a packet: this is how Kea HA learns of a change. HA
// may keep the query for the partner's answer; nobody waits for it here.
void commit(const Pkt4Ptr& query, const Lease4Ptr& lease, const Lease4Ptr& deleted) {
    const int index = isc::hooks::ServerHooks::getServerHooks().findIndex("leases4_committed");
    if (index < 0 || !HooksManager::calloutsPresent(index)) return;
    const auto leases = boost::make_shared<Lease4Collection>();
    const auto deleted_leases = boost::make_shared<Lease4Collection>();
    if (lease) leases->push_back(lease);
    if (deleted) deleted_leases->push_back(deleted);

    const auto handle = HooksManager::createCalloutHandle();
    handle->setArgument("query4", query);
    handle->setArgument("leases4", Lease4CollectionPtr(leases));
    handle->setArgument("deleted_leases4", Lease4CollectionPtr(deleted_leases));
    HooksManager::park("leases4_committed", query, [] {});
    try {
        HooksManager::callCallouts(index, *handle);
    } catch (...) {
        HooksManager::drop("leases4_committed", query);
        throw;
    }
    if (handle->getStatus() != CalloutHandle::NEXT_STEP_PARK) {
        HooksManager::drop("leases4_committed", query);
    }
}

std::vector<EngineSubnet4Ptr> subnets_for(std::uint32_t subnet_id) {
    const auto subnets = CfgMgr::instance().getCurrentCfg()->getCfgSubnets4();
    std::vector<EngineSubnet4Ptr> result;
    if (subnet_id == 0) {
        result.assign(subnets->getAll()->begin(), subnets->getAll()->end());
        return result;
    }
    const EngineSubnet4Ptr wanted = isc::dhcp::SubnetFetcher4::get(*subnets->getAll(), subnet_id);
    if (!wanted) return result;
    result.push_back(wanted);
    isc::dhcp::SharedNetwork4Ptr network;
    wanted->getSharedNetwork(network);
    if (!network) return result;
    for (const auto& subnet : *network->getAllSubnets()) {
        if (subnet != wanted) result.push_back(subnet);
    }
    return result;
}

std::string qualified(const std::string& hostname, const isc::dhcp::DdnsParams& params) {
    std::string name = hostname;
    if (!name.ends_with('.')) {
        name = CfgMgr::instance().getD2ClientMgr().qualifyName(name, params, true);
    }
    boost::algorithm::to_lower(name);
    return name;
}

// What the engine did for one question.
struct Outcome {
    Lease4Ptr lease;  // null: refused
    Lease4Ptr old;    // what was changed or replaced
    DstmQueryPtr query;
};

// DNS after a grant, as kea-dhcp4 does it: the old name goes if it changed, the new one comes.
void update_dns(const EngineSubnet4Ptr& subnet, const Lease4Ptr& lease, const Lease4Ptr& old) {
    const auto ddns = CfgMgr::instance().getCurrentCfg()->getDdnsParams(subnet);
    const bool same_name = old && old->addr_ == lease->addr_ && lease->hasIdenticalFqdn(*old);
    if (old && !same_name) isc::dhcp::queueNCR(isc::dhcp_ddns::CHG_REMOVE, old);
    if (!same_name || ddns->getUpdateOnRenew()) {
        isc::dhcp::queueNCR(isc::dhcp_ddns::CHG_ADD, lease);
    }
}

// Everything that follows a lease which the engine has written.
Grant conclude(LeaseStore& store, const EngineSubnet4Ptr& subnet, const Outcome& outcome) {
    const bool moved = outcome.old && outcome.old->addr_ != outcome.lease->addr_;
    // The engine reclaims, DNS included, what had ended at this address; not what it replaces.
    const Lease4Ptr old = outcome.old && (moved || is_live(*outcome.old)) ? outcome.old : nullptr;
    Grant grant;
    grant.lease = outcome.lease;
    grant.reused = old && !moved;
    grant.replaced = moved ? old : nullptr;
    if (moved) store.forget(old->addr_.toUint32());
    store.note(grant.lease);
    update_dns(subnet, grant.lease, old);
    commit(outcome.query, grant.lease, grant.replaced);
    return grant;
}

}  // namespace

// One subnet that may serve one client.
struct Policy::Attempt {
    EngineSubnet4Ptr subnet;
    Lease4Ptr previous;  // the client's lease there, live or not
    bool supported = true;
    bool reserved = false;
    isc::dhcp::ClientClasses classes;  // what the client's query has in this subnet

    [[nodiscard]] bool has_live() const { return previous && is_live(*previous); }
};

class Policy::Engine {
public:
    Engine() : engine_(make_engine<AllocEngine>(engine_attempts_max)) {}

    // `address` 0: the client's reservation, or what the engine finds by itself.
    Outcome ask(const LeaseRequest& request, const Attempt& attempt, std::uint32_t address) {
        auto query = make_query(request);
        AllocEngine::ClientContext4 context(
            attempt.subnet, boost::make_shared<ClientId>(request.client_id), query->getHWAddr(),
            IOAddress(address), false, false, "", false);
        identify(context, query);
        if (!attempt.subnet->clientSupported(query->getClasses())) return {};
        name(context, request, attempt.previous);
        const Lease4Ptr lease = engine_->allocateLease4(context);
        if (!lease) return {};
        return {lease, context.old_lease_, query};
    }

    // What Kea's configuration says of this client in this subnet.
    void examine(const LeaseRequest& request, Attempt& attempt) {
        const auto query = make_query(request);
        AllocEngine::ClientContext4 context(
            attempt.subnet, boost::make_shared<ClientId>(request.client_id), query->getHWAddr(),
            IOAddress(std::uint32_t{0}), false, false, "", false);
        identify(context, query);
        attempt.classes = query->getClasses();
        attempt.supported = attempt.subnet->clientSupported(attempt.classes);
        attempt.reserved =
            std::any_of(context.hosts_.begin(), context.hosts_.end(), [](const auto& entry) {
                return entry.second && !entry.second->getIPv4Reservation().isV4Zero();
            });
    }

private:
    static void identify(AllocEngine::ClientContext4& context, const DstmQueryPtr& query) {
        context.query_ = query;
        context.callout_handle_ = HooksManager::createCalloutHandle();
        context.addHostIdentifier(isc::dhcp::Host::IDENT_CLIENT_ID, query->client_id());
        AllocEngine::findReservation(context);
        query->addClass(context.hosts_.empty() ? "UNKNOWN" : "KNOWN");
        if (const auto host = context.currentHost()) {
            for (const auto& host_class : host->getClientClasses4()) query->addClass(host_class);
        }
        add_configured_classes(query, true);
    }

    static void name(AllocEngine::ClientContext4& context, const LeaseRequest& request,
                     const Lease4Ptr& previous) {
        const auto host = context.currentHost();
        std::string hostname = request.hostname.value_or("");
        if (!request.hostname && previous && is_live(*previous)) hostname = previous->hostname_;
        if (hostname.empty() && host) hostname = host->getHostname();
        const auto ddns = context.getDdnsParams();
        const bool update = !hostname.empty() && ddns->getEnableUpdates();
        context.hostname_ = update ? qualified(hostname, *ddns) : hostname;
        context.fwd_dns_update_ = update;
        context.rev_dns_update_ = update;
    }

    std::unique_ptr<AllocEngine> engine_;
};

Policy::Policy(LeaseStore& store)
    : store_(store),
      free_([&store](std::uint32_t from, std::size_t limit) { return store.in_use(from, limit); }),
      engine_(std::make_unique<Engine>()) {}

Policy::~Policy() = default;

tl::expected<Grant, Refusal> Policy::allocate(const LeaseRequest& request) {
    const auto subnets = subnets_for(request.subnet_id);
    if (subnets.empty() && request.subnet_id != 0) {
        return tl::unexpected(Refusal{Reason::bad_request, "argument 'subnet-id': no subnet " +
                                                               std::to_string(request.subnet_id)});
    }
    const auto leases = store_.of_client(request.client_id);
    std::vector<Attempt> attempts;
    for (const auto& subnet : subnets) {
        const auto own = std::find_if(leases.begin(), leases.end(), [&](const auto& lease) {
            return lease->subnet_id_ == subnet->getID() && !lease->stateDeclined();
        });
        attempts.push_back(
            {.subnet = subnet, .previous = own == leases.end() ? nullptr : *own, .classes = {}});
        // Kept by Kea for a while after it was reclaimed. Its address is remembered here; left in
        // the database, Kea's engine would count it as given back twice when it replaces it.
        const Lease4Ptr& previous = attempts.back().previous;
        if (previous && previous->stateExpiredReclaimed()) store_.remove(previous);
    }
    // A subnet where the client has a live lease comes first, whatever the order.
    std::stable_partition(attempts.begin(), attempts.end(),
                          [](const Attempt& attempt) { return attempt.has_live(); });
    if (auto grant = allocate_known(request, attempts)) return *grant;
    if (auto grant = allocate_free(request, attempts)) return *grant;
    return tl::unexpected(Refusal{Reason::pool_exhausted, "no free address"});
}

// The address that this client has, wishes for, had, or is reserved.
std::optional<Grant> Policy::allocate_known(const LeaseRequest& request,
                                            std::vector<Attempt>& attempts) {
    const auto try_one = [&](const Attempt& attempt, std::uint32_t address) {
        const auto outcome = engine_->ask(request, attempt, address);
        return outcome.lease ? std::optional(conclude(store_, attempt.subnet, outcome))
                             : std::nullopt;
    };
    for (const auto& attempt : attempts) {
        if (!attempt.has_live()) break;
        if (auto grant = try_one(attempt, attempt.previous->addr_.toUint32())) return grant;
    }
    for (const auto& attempt : attempts) {
        if (!request.address || !attempt.subnet->inRange(IOAddress(*request.address))) continue;
        if (auto grant = try_one(attempt, *request.address)) return grant;
    }
    for (const auto& attempt : attempts) {
        if (!attempt.previous || attempt.has_live()) continue;
        if (auto grant = try_one(attempt, attempt.previous->addr_.toUint32())) return grant;
    }
    for (auto& attempt : attempts) {
        engine_->examine(request, attempt);
        if (!attempt.supported || !attempt.reserved) continue;
        if (auto grant = try_one(attempt, 0)) return grant;
    }
    return std::nullopt;
}

std::optional<Grant> Policy::allocate_free(const LeaseRequest& request,
                                           std::vector<Attempt>& attempts) {
    const auto now = std::chrono::steady_clock::now();
    std::erase_if(attempts, [](const Attempt& attempt) { return !attempt.supported; });
    for (const auto& attempt : attempts) {
        for (const auto& pool : attempt.subnet->getPools(Lease::TYPE_V4)) {
            if (!pool->clientSupported(attempt.classes)) continue;
            const AddressRange range{pool->getFirstAddress().toUint32(),
                                     pool->getLastAddress().toUint32()};
            for (int tried = 0; tried < candidates_max; ++tried) {
                const auto candidate = free_.next(range, now);
                if (!candidate) break;
                const auto outcome = engine_->ask(request, attempt, *candidate);
                if (!outcome.lease) continue;
                free_.taken(range);
                return conclude(store_, attempt.subnet, outcome);
            }
        }
    }
    if (attempts.empty()) return std::nullopt;
    // The last word is the engine's: it counts and logs the failure as Kea's operators know it.
    const auto outcome = engine_->ask(request, attempts.front(), 0);
    if (!outcome.lease) return std::nullopt;
    return conclude(store_, attempts.front().subnet, outcome);
}

tl::expected<Grant, Refusal> Policy::renew(const Lease4Ptr& lease, const LeaseRequest& request) {
    const auto subnets = subnets_for(lease->subnet_id_);
    if (!subnets.empty()) {
        const Attempt attempt{.subnet = subnets.front(), .previous = lease, .classes = {}};
        const auto outcome = engine_->ask(request, attempt, lease->addr_.toUint32());
        if (outcome.lease) return conclude(store_, attempt.subnet, outcome);
    }
    return tl::unexpected(Refusal{Reason::not_found,
                                  "the configuration no longer gives this address to this client"});
}

bool Policy::release(const Lease4Ptr& lease) {
    if (!store_.remove(lease)) return false;
    free_.freed(lease->addr_.toUint32());
    isc::dhcp::queueNCR(isc::dhcp_ddns::CHG_REMOVE, lease);
    const auto query = boost::make_shared<DstmQuery>(lease->client_id_->getClientId(), nullptr);
    query->setType(isc::dhcp::DHCPRELEASE);
    query->setHWAddr(hardware_address_of(query->client_id()));
    commit(query, nullptr, lease);
    return true;
}

}  // namespace dstm::kea
