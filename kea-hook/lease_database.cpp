// See the header.
#include "kea-hook/lease_database.hpp"

#include <dhcpsrv/lease_mgr_factory.h>

namespace dstm::kea {

using isc::dhcp::ClientId;
using isc::dhcp::DUID;
using isc::dhcp::Lease;
using isc::dhcp::Lease4;
using isc::dhcp::Lease6;
using isc::dhcp::LeaseMgrFactory;
using isc::dhcp::LeasePageSize;

namespace {

template <class Collection>
std::vector<RowPtr> rows_of(const Collection& leases) {
    return {leases.begin(), leases.end()};
}

class LeaseDatabase4 : public LeaseDatabase {
public:
    int family() const override { return AF_INET; }
    RowPtr find_address(const IOAddress& address) const override {
        return LeaseMgrFactory::instance().getLease4(address);
    }
    RowPtr find_prefix(const IOAddress&) const override { return nullptr; }
    std::vector<RowPtr> of_client(const Bytes& client_id) const override {
        return rows_of(LeaseMgrFactory::instance().getLease4(ClientId(client_id)));
    }
    std::vector<RowPtr> after(const IOAddress& address, std::size_t limit) const override {
        return rows_of(LeaseMgrFactory::instance().getLeases4(address, LeasePageSize(limit)));
    }
    bool remove(const RowPtr& row) override {
        return LeaseMgrFactory::instance().deleteLease(boost::dynamic_pointer_cast<Lease4>(row));
    }
};

class LeaseDatabase6 : public LeaseDatabase {
public:
    int family() const override { return AF_INET6; }
    RowPtr find_address(const IOAddress& address) const override {
        return LeaseMgrFactory::instance().getLease6(Lease::TYPE_NA, address);
    }
    RowPtr find_prefix(const IOAddress& prefix) const override {
        return LeaseMgrFactory::instance().getLease6(Lease::TYPE_PD, prefix);
    }
    std::vector<RowPtr> of_client(const Bytes& client_id) const override {
        return rows_of(LeaseMgrFactory::instance().getLeases6(DUID(client_id)));
    }
    std::vector<RowPtr> after(const IOAddress& address, std::size_t limit) const override {
        return rows_of(LeaseMgrFactory::instance().getLeases6(address, LeasePageSize(limit)));
    }
    bool remove(const RowPtr& row) override {
        return LeaseMgrFactory::instance().deleteLease(boost::dynamic_pointer_cast<Lease6>(row));
    }
};

}  // namespace

std::unique_ptr<LeaseDatabase> make_lease_database(int family) {
    if (family == AF_INET) return std::make_unique<LeaseDatabase4>();
    return std::make_unique<LeaseDatabase6>();
}

}  // namespace dstm::kea
