"""The demo: two operators, one the other's rival, with places in three countries, and a month of sessions that came
over real websockets.

It stands in `ocpp` because it needs every app below and the simulator. `cast` holds who and what there is, `tenants`
and `sales` make it by the services, `month` lets the chargers live for a month or two and replay it to a gateway,
`live` is for `manage.py simulate --demo`.
"""

from apps.ocpp.demo.live import demo_guide, demo_lives
from apps.ocpp.demo.month import replay_month
from apps.ocpp.demo.tenants import loading_mark, make_tenants

__all__ = ["demo_guide", "demo_lives", "loading_mark", "make_tenants", "replay_month"]
