// Stand-in for a header that Debian 12's kea-dev 2.2.0 does not ship although others include it.
// Declarations only: the class lives in libkea-dhcpsrv. Kea's inline code passes these numbers into
// the library, so they must be the library's; kea_values.cpp compares them with its own table when
// the hook loads. CMake uses this folder only where the system has no such header.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <boost/shared_ptr.hpp>

#include <cc/cfg_to_element.h>
#include <cc/data.h>

namespace isc {
namespace dhcp {

class CfgGlobals : public isc::data::CfgToElement {
public:
    enum Index : int {
        VALID_LIFETIME = 0,
        MIN_VALID_LIFETIME = 1,
        MAX_VALID_LIFETIME = 2,
        RENEW_TIMER = 3,
        REBIND_TIMER = 4,
        DECLINE_PROBATION_PERIOD = 5,
        DHCP4O6_PORT = 6,
        COMMENT = 7,
        SERVER_TAG = 8,
        RESERVATION_MODE = 9,
        RESERVATIONS_GLOBAL = 10,
        RESERVATIONS_IN_SUBNET = 11,
        RESERVATIONS_OUT_OF_POOL = 12,
        CALCULATE_TEE_TIMES = 13,
        T1_PERCENT = 14,
        T2_PERCENT = 15,
        HOSTNAME_CHAR_SET = 16,
        HOSTNAME_CHAR_REPLACEMENT = 17,
        DDNS_SEND_UPDATES = 18,
        DDNS_OVERRIDE_NO_UPDATE = 19,
        DDNS_OVERRIDE_CLIENT_UPDATE = 20,
        DDNS_REPLACE_CLIENT_NAME = 21,
        DDNS_GENERATED_PREFIX = 22,
        DDNS_QUALIFYING_SUFFIX = 23,
        STORE_EXTENDED_INFO = 24,
        STATISTIC_DEFAULT_SAMPLE_COUNT = 25,
        STATISTIC_DEFAULT_SAMPLE_AGE = 26,
        CACHE_THRESHOLD = 27,
        CACHE_MAX_AGE = 28,
        EARLY_GLOBAL_RESERVATIONS_LOOKUP = 29,
        IP_RESERVATIONS_UNIQUE = 30,
        RESERVATIONS_LOOKUP_FIRST = 31,
        DDNS_UPDATE_ON_RENEW = 32,
        DDNS_USE_CONFLICT_RESOLUTION = 33,
        PARKED_PACKET_LIMIT = 34,
        ECHO_CLIENT_ID = 35,
        MATCH_CLIENT_ID = 36,
        AUTHORITATIVE = 37,
        NEXT_SERVER = 38,
        SERVER_HOSTNAME = 39,
        BOOT_FILE_NAME = 40,
        DATA_DIRECTORY = 41,
        PREFERRED_LIFETIME = 42,
        MIN_PREFERRED_LIFETIME = 43,
        MAX_PREFERRED_LIFETIME = 44,
        SIZE = 45
    };

    // Names as in the configuration ("valid-lifetime") to the library's own numbers.
    static const std::map<std::string, int> nameToIndex;

    CfgGlobals();
    virtual ~CfgGlobals();

    isc::data::ConstElementPtr get(int index) const;
    isc::data::ConstElementPtr get(const std::string& name) const;
    void set(int index, isc::data::ConstElementPtr value);
    void set(const std::string& name, isc::data::ConstElementPtr value);
    void clear();
    virtual isc::data::ElementPtr toElement() const;

protected:
    std::vector<isc::data::ConstElementPtr> values_;
};

using CfgGlobalsPtr = boost::shared_ptr<CfgGlobals>;
using ConstCfgGlobalsPtr = boost::shared_ptr<const CfgGlobals>;

}  // namespace dhcp
}  // namespace isc
