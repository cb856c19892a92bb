"""An Airflow DAG: every night a shop's log becomes a candidate policy; a person promotes it.

Put it into Airflow's folder of DAGs on the machine that has the shop's folder, and name that folder and the products in
Airflow's variables `shop_folder` and `shop_products` (`[hotel-twin,hotel-queen]`).
"""

from datetime import datetime, timedelta

from airflow import DAG
from airflow.operators.bash import BashOperator

SERVING = "python -m marl_pricing.serving"
SHOP = "{{ var.value.get('shop_folder', 'runs/shop') }}"
PRODUCTS = "{{ var.value.get('shop_products', '[]') }}"
INTO = f"{SHOP}/refits/{{{{ ds_nodash }}}}"

with DAG(
    dag_id="refit_shop",
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,  # the log is read from its beginning each night
    max_active_runs=1,
    default_args={"retries": 0, "execution_timeout": timedelta(hours=6)},
    tags=["marl_pricing"],
) as dag:
    refit = BashOperator(
        task_id="refit",
        bash_command=f"{SERVING} refit out={SHOP} into={INTO} products='{PRODUCTS}' period=3600 robust=interval",
    )
    # What was promoted and what waits, in the task's log. Nothing is promoted here: that takes a person, and
    # `python -m marl_pricing.serving promote policy=… evaluation=… out=…` refuses whom nobody evaluated.
    candidates = BashOperator(task_id="candidates", bash_command=f"{SERVING} policies out={SHOP}")
    refit >> candidates
